# Two images from one file:
#   docker build --target serve -t anomaly-exporter .          scores and exposes; no TensorFlow, pandas or scikit-learn
#   docker build --target train -t anomaly-exporter-train .    also trains
# Every dependency comes with its hash, from the lock files that `make lock` writes. For a build that is reproducible to
# the last byte, give the base by digest: --build-arg BASE=python@sha256:...
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY requirements.build.lock ./
RUN python -m venv /build \
 && /build/bin/pip install -q --no-deps --require-hashes -r requirements.build.lock
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
COPY models models
RUN /build/bin/pip wheel -q --no-deps --no-build-isolation --wheel-dir /dist .

FROM build AS serve-packages
COPY requirements.serve.lock ./
RUN python -m venv --without-pip /opt/anomaly-exporter \
 && pip --python /opt/anomaly-exporter/bin/python install -q --no-compile --no-deps --require-hashes -r requirements.serve.lock \
 && pip --python /opt/anomaly-exporter/bin/python install -q --no-compile --no-deps /dist/*.whl
# What is never imported: the asynchronous half of the Kubernetes client, tests, stubs. Its other half is many small files
# that only `launcher.kind: kubernetes` reads, once: their bytecode would be larger than all of ours.
RUN cd /opt/anomaly-exporter/lib/python3*/site-packages \
 && rm -rf kubernetes/aio \
 && find . -type d -name tests -path '*numpy*' -prune -exec rm -rf {} + \
 && find . -name '*.pyi' -delete \
 && python -m compileall -q -j 0 -x '/kubernetes/' --invalidation-mode unchecked-hash /opt/anomaly-exporter/lib

FROM build AS train-packages
COPY requirements.train.lock ./
RUN python -m venv --without-pip /opt/anomaly-exporter \
 && pip --python /opt/anomaly-exporter/bin/python install -q --no-compile --no-deps --require-hashes -r requirements.train.lock \
 && pip --python /opt/anomaly-exporter/bin/python install -q --no-compile --no-deps /dist/*.whl \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/anomaly-exporter/lib

FROM ${BASE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="anomaly-exporter" \
      org.opencontainers.image.description="Prometheus exporter that learns every series with small autoencoders" \
      org.opencontainers.image.source="https://github.com/anomaly-exporter/anomaly-exporter" \
      org.opencontainers.image.documentation="https://github.com/anomaly-exporter/anomaly-exporter/blob/main/docs/install.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/anomaly-exporter/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TF_CPP_MIN_LOG_LEVEL=2
# OpenShift runs the container as a random user of group 0: what is written belongs to that group, and the rest is read.
RUN mkdir -p /var/lib/anomaly-exporter /etc/anomaly-exporter \
 && chown 65532:0 /var/lib/anomaly-exporter \
 && chmod u=rwx,g=u,o= /var/lib/anomaly-exporter
WORKDIR /var/lib/anomaly-exporter
VOLUME /var/lib/anomaly-exporter
EXPOSE 8345
USER 65532:0
ENTRYPOINT ["anomaly-exporter"]
CMD ["serve", "--config", "/etc/anomaly-exporter/config.yaml"]

FROM runtime AS train
COPY --from=train-packages /opt/anomaly-exporter /opt/anomaly-exporter

FROM runtime AS serve
COPY --from=serve-packages /opt/anomaly-exporter /opt/anomaly-exporter
