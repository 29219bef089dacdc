# svcdns as an image: DNS on port 53 of all addresses, the API on the container's loopback only.
#
#   podman build --format docker -t svcdns .    (this format carries the HEALTHCHECK; docker needs no flag)
#   podman run -d --name svcdns -p 127.0.0.1:1053:53/udp -p 127.0.0.1:1053:53/tcp -v svcdns:/var/lib/svcdns svcdns
#
# docs/containers.md says the rest.  BASE: any Debian image with Python 3.11 or newer and its venv module.

ARG BASE=python:3.11-slim

FROM ${BASE} AS build
# A compiler for the path of plain questions; only what it makes is taken along.  (A base with Debian's own
# Python compiles it where python3-dev is there; without headers all is answered in Python.)
RUN { command -v setcap && command -v cc; } >/dev/null \
 || { apt-get update -qq && apt-get install -y -qq --no-install-recommends libcap2-bin gcc libc6-dev; }
# A venv whose interpreter is a copy: the right to bind ports below 1024 goes to that file, not to the
# Python of the whole image.  (Its other names, python and python3.x, are links to this one.)
RUN python3 -m venv /opt/svcdns \
 && cp --remove-destination "$(readlink -f /opt/svcdns/bin/python3)" /opt/svcdns/bin/python3
WORKDIR /src
# Versions and hashes first: this layer stays as long as they do.
COPY requirements/image.txt requirements/
RUN /opt/svcdns/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/image.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY svcdns svcdns
RUN /opt/svcdns/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . \
 && /opt/svcdns/bin/pip uninstall --yes --quiet setuptools pip \
 && setcap cap_net_bind_service=+ep /opt/svcdns/bin/python3

FROM ${BASE}
LABEL org.opencontainers.image.title="svcdns" \
      org.opencontainers.image.description="Kubernetes Services without Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10053 svcdns \
 && useradd --uid 10053 --gid svcdns --no-create-home --home-dir /var/lib/svcdns \
      --shell /usr/sbin/nologin svcdns \
 && install -d -o svcdns -g svcdns -m 0700 /var/lib/svcdns \
 && install -d /etc/svcdns/manifests /etc/svcdns/zones
COPY --from=build /opt/svcdns /opt/svcdns
# Variables win over a configuration file: what makes the image work holds with any file, and
# `-e SVCDNS_...` changes it.
ENV PATH=/opt/svcdns/bin:$PATH \
    SVCDNS_DNS_LISTEN=0.0.0.0:53 \
    SVCDNS_API_LISTEN=127.0.0.1:8053 \
    SVCDNS_DATA=/var/lib/svcdns \
    SVCDNS_MANIFESTS=/etc/svcdns/manifests \
    SVCDNS_DNS_ZONES=/etc/svcdns/zones
USER svcdns
WORKDIR /etc/svcdns
# As this user, so that an interpreter that lost its right or its libraries on the way ends the build.
RUN svcdns version
VOLUME /var/lib/svcdns
EXPOSE 53/udp 53/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s \
    CMD svcdns query "dns-version.${SVCDNS_CLUSTER_DOMAIN:-cluster.local}" TXT --timeout 4
ENTRYPOINT ["svcdns"]
CMD ["serve"]
