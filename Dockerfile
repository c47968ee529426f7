# Berth's images. `control` runs the operator, the gateway and the model fetcher; `runtime-cpu` is a
# stock vLLM for machines without an accelerator. BASE is any Debian 12 image with Python 3.11.
ARG BASE=python:3.11-slim

FROM ${BASE} AS base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1
RUN groupadd --gid 65532 berth \
    && useradd --no-log-init --uid 65532 --gid 65532 --create-home --shell /usr/sbin/nologin berth


FROM base AS runtime-cpu
# libnuma1: without it vLLM's kernels fail to load, and say so only much later.
# g++ and Python's headers: torch.compile.
RUN apt-get update -qq \
    && apt-get install -qq --no-install-recommends g++ libnuma1 > /dev/null \
    && { test -f "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" \
         || apt-get install -qq --no-install-recommends libpython3-dev > /dev/null; } \
    && rm -rf /var/lib/apt/lists/*
# Bytecode is compiled here, unchecked because no source changes later: without it, each of the
# engine's three processes spends most of its start compiling.
ARG SSL_CERT_FILE
RUN --mount=type=bind,source=dev/images/runtime-cpu,target=/recipe \
    --mount=type=bind,source=dev/images/uv,target=/uv \
    --mount=type=cache,target=/root/.cache/uv \
    python3 -m venv /tmp/uv \
    && PIP_CERT=$SSL_CERT_FILE /tmp/uv/bin/pip install --quiet --require-hashes -r /uv/requirements.txt \
    && python3 -m venv --without-pip /opt/venv \
    && UV_LINK_MODE=copy /tmp/uv/bin/uv pip install --quiet --no-deps --require-hashes \
         --python /opt/venv/bin/python -r /recipe/requirements.txt \
    && rm -rf /tmp/uv \
    && python3 -B /recipe/trim.py \
    && python3 -B /recipe/name_vllm.py \
    && python3 -m compileall -q -j 0 -x py312_intrinsics --invalidation-mode unchecked-hash /opt/venv/lib
ENV HOME=/home/berth
USER 65532
WORKDIR /home/berth
ENTRYPOINT ["vllm", "serve"]


# The stages before `control` hold what builds it; it gets what they install and none of the tools.
FROM base AS control-dependencies
ARG SSL_CERT_FILE
RUN --mount=type=bind,source=dev/images/uv,target=/uv \
    python3 -m venv /opt/uv \
    && PIP_CERT=$SSL_CERT_FILE /opt/uv/bin/pip install --quiet --require-hashes -r /uv/requirements.txt
COPY pyproject.toml uv.lock /src/
RUN --mount=type=cache,target=/root/.cache/uv \
    cd /src && UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/opt/venv /opt/uv/bin/uv sync --quiet --frozen \
         --no-dev --no-install-project --extra operator --extra gateway --extra fetch \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

FROM control-dependencies AS control-berth
ARG SSL_CERT_FILE
COPY README.md /src/
COPY crds /src/crds
COPY operator /src/operator
COPY runtime /src/runtime
# `server` is what a runtime pod copies beside a stock vLLM: pure Python, with the metadata that
# makes it a vLLM plugin.
RUN --mount=type=cache,target=/root/.cache/uv \
    export UV_LINK_MODE=copy && install="/opt/uv/bin/uv pip install --quiet --no-deps --python /opt/venv/bin/python" \
    && /opt/uv/bin/uv build --quiet --wheel --out-dir /wheel /src \
    && $install --prefix /installed/venv /wheel/*.whl \
    && $install --target /installed/server /wheel/*.whl \
    && cd /installed/server && rm -rf bin .lock berth_operator berth_gateway berth_cli \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /installed

FROM base AS control
# busybox: images of weights have no shell; an init container copies this one in.
RUN apt-get update -qq \
    && apt-get install -qq --no-install-recommends busybox-static > /dev/null \
    && rm -rf /var/lib/apt/lists/*
COPY --from=control-dependencies /opt/venv /opt/venv
COPY --from=control-berth /installed/venv /opt/venv
COPY --from=control-berth /installed/server /opt/berth/server
ENV HOME=/home/berth
USER 65532
WORKDIR /home/berth
