# A small image that runs as nobody and holds the binary, the libraries it is linked with, and nothing else that runs.
#
#   docker build -t wharfinger .
#   docker run -v "$PWD/config:/etc/wharfinger:ro" -v wharfinger:/var/lib/wharfinger -p 5000:5000 wharfinger
#
# The configuration is /etc/wharfinger/config.yaml; let it listen on 0.0.0.0 and keep its store in /var/lib/wharfinger.

FROM rust:1.95-slim-trixie AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist --bin wharfinger && image/layout.sh target/dist/wharfinger /image

# Built and started by tests/it/image.rs, around a binary that is there already.
FROM scratch
COPY --from=build /image/root /
COPY --from=build --chown=65532:65532 /image/data /
USER 65532:65532
WORKDIR /var/lib/wharfinger
VOLUME /var/lib/wharfinger
EXPOSE 5000
ENTRYPOINT ["/usr/local/bin/wharfinger"]
CMD ["serve", "/etc/wharfinger/config.yaml"]
