# A small image that runs as nobody.
#
#   docker build -t wharfinger .                    builds everything in the image
#   docker build -t wharfinger --target release .   takes target/release/wharfinger, built before by `cargo build --release`
#   docker run -v "$PWD/config:/etc/wharfinger:ro" -v wharfinger:/var/lib/wharfinger -p 5000:5000 wharfinger
#
# The configuration is /etc/wharfinger/config.yaml; let it listen on 0.0.0.0 and keep its store in /var/lib/wharfinger.

FROM rust:1.95-slim-trixie AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake g++ gcc libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist --bin wharfinger

# As new a C library as the build stage has, and the authorities that issuers' servers are verified by.
FROM debian:trixie-slim AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 65532 -g 65532 -m 0750 /var/lib/wharfinger
USER 65532:65532
WORKDIR /var/lib/wharfinger
VOLUME /var/lib/wharfinger
EXPOSE 5000
ENTRYPOINT ["/usr/local/bin/wharfinger"]
CMD ["serve", "/etc/wharfinger/config.yaml"]

FROM base AS release
COPY target/release/wharfinger /usr/local/bin/wharfinger

FROM base
COPY --from=build /src/target/dist/wharfinger /usr/local/bin/wharfinger
