# A small image. It contains only the binary and the libraries that it is linked with, and runs as the user 65532.
#
#   docker build -t wharfinger .
#   docker run -v "$PWD/config:/etc/wharfinger:ro" -v wharfinger:/var/lib/wharfinger -p 5000:5000 wharfinger
#
# The configuration is /etc/wharfinger/config.yaml. It should listen on 0.0.0.0 and keep its store in /var/lib/wharfinger.

FROM rust:1.95-slim-trixie AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist --bin wharfinger && image/layout.sh target/dist/wharfinger /image

# tests/it/image.rs builds and starts this image with an existing binary.
FROM scratch
COPY --from=build /image/root /
COPY --from=build --chown=65532:65532 /image/data /
USER 65532:65532
WORKDIR /var/lib/wharfinger
VOLUME /var/lib/wharfinger
EXPOSE 5000
ENTRYPOINT ["/usr/local/bin/wharfinger"]
CMD ["serve", "/etc/wharfinger/config.yaml"]
