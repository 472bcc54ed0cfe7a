# The engine's image: `graylane engine` and nothing else is needed in it. Build it where Docker or Podman is:
#   docker build -t REGISTRY/graylane:VERSION .
#
# The bases are pinned by digest, as renovate writes them: the digest decides, the tag tells a reader what it is. These two
# were read off public Dockerfiles of several owners that agree on them; nothing was pulled here, for no registry of
# images was at hand. To renew them, ask the registries:
#   docker buildx imagetools inspect docker.io/library/rust:1.91-slim-bookworm --format '{{.Manifest.Digest}}'
#   docker buildx imagetools inspect gcr.io/distroless/cc-debian12:nonroot --format '{{.Manifest.Digest}}'
ARG RUST=docker.io/library/rust:1.91-slim-bookworm@sha256:8514999d4786ef12efe89239e86b3d0a021b94b9d35108c8efe6c79ca7dc1a65
ARG BASE=gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f
FROM ${RUST} AS build
# ring compiles C.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY src src
COPY crates crates
COPY benches benches
COPY examples examples
COPY samples samples
COPY themes themes
RUN cargo build --profile dist --locked --bin graylane --no-default-features

# glibc, CA certificates, /etc/passwd with a user who is not root; no shell, no package manager.
FROM ${BASE}
COPY --from=build /src/target/dist/graylane /usr/local/bin/graylane
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/graylane"]
CMD ["engine", "--no-install", "--listen", "0.0.0.0:8080"]
