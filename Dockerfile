# A small image. It contains only the binary and the libraries that it is linked with, and runs as the user 65532.
#
#   docker build -t wharfinger .
#   docker run --read-only -v "$PWD/config:/etc/wharfinger:ro" -v wharfinger:/var/lib/wharfinger -p 5000:5000 wharfinger
#
# The image of the kubelet's plugin, for deploy/kubernetes/kubelet-plugin.yaml:
#
#   docker build --target plugin -t wharfinger-kubelet-plugin .
#
# The configuration is /etc/wharfinger/config.yaml. It should listen on 0.0.0.0 and keep its store in /var/lib/wharfinger.

# A Debian with the Rust toolchain, such as a mirror's.
ARG BUILD_BASE=docker.io/library/rust:1.95-slim-trixie
FROM ${BUILD_BASE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist --bin wharfinger && image/layout.sh target/dist/wharfinger /image

# Nodes have other C libraries, so the plugin is linked statically.
FROM build AS build-plugin
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
    && RUSTFLAGS="-C target-feature=+crt-static" \
       cargo build --locked --profile dist --target "$target" --bin wharfinger-credential-provider \
    && cp "target/$target/dist/wharfinger-credential-provider" /

FROM scratch AS plugin
COPY --from=build-plugin /wharfinger-credential-provider /
ENTRYPOINT ["/wharfinger-credential-provider"]

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
