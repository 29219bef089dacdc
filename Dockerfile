# svcdns as an image: DNS on port 53 of all addresses, the API on the container's loopback only.
#
#   podman build --format docker -t svcdns .        (the Docker format carries the HEALTHCHECK)
#   podman run -p 53:53/udp -p 53:53/tcp -v svcdns:/var/lib/svcdns svcdns

FROM docker.io/library/python:3.11-slim AS build
WORKDIR /src
# Debian's Python finds the same site-packages under another name; a venv is alike everywhere. --copies:
# the interpreter gets a capability below, and a link can't have one.
RUN python3 -m venv --copies /opt/svcdns
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY svcdns svcdns
RUN /opt/svcdns/bin/pip install --no-cache-dir --disable-pip-version-check '.[fast]' \
 && /opt/svcdns/bin/pip uninstall --yes --quiet pip setuptools
RUN if ! command -v setcap >/dev/null; then \
      apt-get update -qq && apt-get install -y -qq --no-install-recommends libcap2-bin; \
    fi \
 && setcap cap_net_bind_service=+ep "$(readlink -f /opt/svcdns/bin/python3)"

FROM docker.io/library/python:3.11-slim
LABEL org.opencontainers.image.title="svcdns" \
      org.opencontainers.image.description="Kubernetes Services without Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0"
# COPY keeps the capability of the interpreter.
COPY --from=build /opt/svcdns /opt/svcdns
RUN useradd --system --uid 953 --no-create-home --home-dir /var/lib/svcdns --shell /usr/sbin/nologin svcdns \
 && install -d -o svcdns -g svcdns -m 0700 /var/lib/svcdns
ENV PATH=/opt/svcdns/bin:$PATH \
    SVCDNS_DNS_LISTEN=0.0.0.0:53 \
    SVCDNS_API_LISTEN=127.0.0.1:8053 \
    SVCDNS_DATA=/var/lib/svcdns \
    SVCDNS_DNS_ZONES=/etc/svcdns/zones
USER svcdns
VOLUME /var/lib/svcdns
EXPOSE 53/udp 53/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s \
    CMD ["svcdns", "query", "dns-version.cluster.local", "TXT", "--timeout", "4"]
ENTRYPOINT ["svcdns"]
CMD ["serve"]
