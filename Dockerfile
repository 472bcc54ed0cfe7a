# The engine's image: `graylane engine` and nothing else is needed in it. Build it where Docker or Podman is:
#   docker build -t REGISTRY/graylane:VERSION .
#
# The bases are named by tag: no registry was at hand to ask for their digests where this was written, and a digest that
# nobody has looked at is worse than none. Pin them where you build:
#   digest() { docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}'; }
#   rust=docker.io/library/rust:1-slim-bookworm; base=gcr.io/distroless/cc-debian12:nonroot
#   docker build --build-arg RUST="$rust@$(digest $rust)" --build-arg BASE="$base@$(digest $base)" -t … .
ARG RUST=docker.io/library/rust:1-slim-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot
FROM ${RUST} AS build
# ring compiles C.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
COPY examples examples
COPY samples samples
COPY themes themes
RUN cargo build --release --locked --bin graylane

# glibc, CA certificates, /etc/passwd with a user who is not root; no shell, no package manager.
FROM ${BASE}
COPY --from=build /src/target/release/graylane /usr/local/bin/graylane
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/graylane"]
CMD ["engine", "--no-install", "--listen", "0.0.0.0:8080"]
