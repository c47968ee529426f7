# Berth's images. `control` runs the operator, the gateway and the model fetcher; `runtime-cpu` is a stock vLLM for
# machines without an accelerator. BASE is any Debian 12 image with Python 3.11.
ARG BASE=python:3.11-slim

FROM ${BASE} AS base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1
RUN useradd --uid 65532 --create-home --home-dir /home/berth --shell /usr/sbin/nologin berth

# The installer stays in a stage of its own: the images get what it installs and not the tool.
FROM base AS uv
ARG SSL_CERT_FILE
ARG UV_VERSION=0.13.8
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/uv && PIP_CERT=$SSL_CERT_FILE /opt/uv/bin/pip install --quiet uv==$UV_VERSION


FROM base AS runtime-cpu
# libnuma1: without it vLLM's kernels fail to load, and say so only much later. g++ and Python's headers: torch.compile.
RUN apt-get update -qq \
    && apt-get install -qq --no-install-recommends g++ libnuma1 > /dev/null \
    && { test -f "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" \
         || apt-get install -qq --no-install-recommends libpython3-dev > /dev/null; } \
    && rm -rf /var/lib/apt/lists/*
ARG SSL_CERT_FILE
COPY dev/images/runtime-cpu/requirements.txt /tmp/requirements.txt
RUN --mount=type=bind,from=uv,source=/opt/uv,target=/opt/uv \
    --mount=type=cache,target=/root/.cache/uv \
    python3 -m venv --without-pip /opt/venv \
    && UV_LINK_MODE=copy /opt/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --no-deps -r /tmp/requirements.txt \
    && rm /tmp/requirements.txt
