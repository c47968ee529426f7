# The developer's commands. Debian's python3 and python3-venv are enough to start from.

SHELL := /bin/bash
.DEFAULT_GOAL := help

UV_VERSION := 0.13.8
UV := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/berth/uv-$(UV_VERSION)/bin/uv
PYTHON := .venv/bin/python
SYNCED := .venv/.synced

export PYTHONPATH := crds:operator:runtime

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(SYNCED) ## .venv with what uv.lock says; what a developer has added stays

$(SYNCED): uv.lock pyproject.toml | $(UV)
	$(UV) sync --quiet --locked --inexact
	@touch $@

$(UV):
	python3 -m venv $(@D)/..
	$(@D)/pip install --quiet uv==$(UV_VERSION)

.PHONY: generate
generate: venv ## everything in the repository that is made from something else
	$(PYTHON) -m berth_api
	@# The chart first: the terminal's default profiles are what helm renders of it.
	UPDATE_GOLDEN=1 $(PYTHON) -m pytest -q tests/integration/test_chart_rendering.py \
	  tests/integration/test_chart_rights.py
	UPDATE_GOLDEN=1 $(PYTHON) -m pytest -q tests/unit -k golden

.PHONY: check
check: venv ## format, lint, types, import directions, generated files
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PYTHON) -m berth_api --check
	@# Packages there would shadow the standard library's operator.
	@found=$$(find operator tests -name __init__.py -not -path 'operator/berth_*'); \
	  if [ -n "$$found" ]; then echo "remove $$found: it hides the standard library's operator"; exit 1; fi

.PHONY: unit
unit: venv ## pure tests: no network, no processes, under 20 s
	$(PYTHON) -m pytest -q -n auto tests/unit

.PHONY: exhaustive
exhaustive: venv ## the planner against brute force, ten thousand times
	$(PYTHON) -m pytest -q -n auto tests/exhaustive

.PHONY: fuzz
fuzz: venv ## hostile input to every reader, three minutes; BERTH_FUZZ_SECONDS for more
	$(PYTHON) -m pytest -q -s tests/fuzz

.PHONY: engine
engine: venv ## one process of the pinned engine, no cluster: our arithmetic beside its own
	$(PYTHON) -m pytest -q tests/engine

.PHONY: binaries
binaries: ## Kubernetes, etcd and helm, built once for this machine
	python3 -m dev build

.PHONY: integration
integration: venv binaries ## against a real API server
	$(PYTHON) -m pytest -q tests/integration

.PHONY: screenshots
screenshots: venv binaries ## docs/images, of the gateway's page in a real browser
	BERTH_SCREENSHOTS=1 $(PYTHON) -m pytest -q tests/integration/test_page.py

# Most of these tests wait, so two at a time leave two cores room. Files stay whole: a file's tests share
# control planes, of which some are broken on purpose.
.PHONY: faults
faults: venv binaries ## killed, frozen, cut off, abused: processes on control planes of their own; BERTH_LONG_FAULTS=1
	$(PYTHON) -m pytest -q -n 2 --dist loadfile tests/faults --ignore=tests/faults/node

.PHONY: keda
keda: venv ## against a real KEDA; builds it the first time, ten minutes on two cores
	python3 -m dev build --keda
	$(PYTHON) -m pytest -q -s tests/keda

.PHONY: open-webui
open-webui: venv ## a real Open WebUI on the gateway, in a real browser; installs both the first time
	$(PYTHON) -m pytest -q -s tests/open_webui

.PHONY: e2e
e2e: venv ## against a real node, with real weights; then its faults
	$(PYTHON) -m pytest -q tests/e2e tests/faults/node

.PHONY: soak
soak: venv ## half an hour of roll-outs, kills and traffic: nothing grows; BERTH_SOAK_SECONDS
	$(PYTHON) -m pytest -q -s tests/soak

.PHONY: test
test: check unit exhaustive fuzz engine integration faults e2e ## all of it

# What the images hold. The lock files have a hash of every wheel, and a build checks them.
CONTROL_EXPORT := export --quiet --frozen --no-dev --extra operator --extra gateway --extra fetch
RUNTIME_LOCK := dev/images/runtime-cpu/requirements.txt
ADVISORIES := https://api.osv.dev/v1/vulns/PYSEC-2023-212

.PHONY: sbom
sbom: | $(UV) ## out/sbom: a list of all that each built image holds, in CycloneDX
	@mkdir -p out/sbom
	@$(UV) $(CONTROL_EXPORT) --format cyclonedx1.5 --output-file out/sbom/control.python.json > /dev/null
	@$(UV) tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements \
	  --spec-version 1.5 --output-file out/sbom/runtime-cpu.python.json $(RUNTIME_LOCK)
	@for image in control runtime-cpu; do \
	  python3 -m dev.sbom localhost/berth-$$image:dev out/sbom/$$image.python.json \
	    > out/sbom/$$image.cdx.json || exit 1; rm out/sbom/$$image.python.json; done
	@ls out/sbom/*.cdx.json

.PHONY: audit
audit: | $(UV) ## known vulnerabilities of what the images hold, by osv.dev
	@curl --fail --silent --show-error --max-time 20 --output /dev/null $(ADVISORIES) \
	  || { echo "audit: no advisories can be had from $(ADVISORIES): nothing was audited"; exit 1; }
	@mkdir -p out && $(UV) $(CONTROL_EXPORT) --no-emit-project --output-file out/control.txt > /dev/null
	@for lock in out/control.txt $(RUNTIME_LOCK); do \
	  $(UV) tool run --quiet pip-audit@2.10.1 --strict --disable-pip --require-hashes \
	    --vulnerability-service osv --requirement $$lock || exit 1; done

.PHONY: up
up: ## a cluster on this machine with Berth and a small model in it
	python3 -m dev up

.PHONY: demo
demo: ## a cluster, Berth, a model, a question and its answer
	python3 -m dev demo

.PHONY: images
images: ## build the images that have changed and load them into the cluster
	python3 -m dev images

.PHONY: down
down: ## stop the cluster; its content, images and binaries stay
	python3 -m dev down

.PHONY: clean
clean: ## stop the cluster and remove it with every cache
	python3 -m dev clean

.PHONY: bench-startup
bench-startup: ## a pod's start by phase, beside a plain vllm serve; on the cluster of `make up`
	python3 -m bench.startup

.PHONY: bench-pool-start
bench-pool-start: venv ## from an order to the first token in a pool's pod, beside vllm serve; BERTH_ENGINE_PYTHON
	$(PYTHON) -m bench.pool_start $(BENCH_FLAGS)

.PHONY: bench-compiled-start
bench-compiled-start: venv ## the same of an engine that compiles, with and without what another pod kept; BERTH_ENGINE_PYTHON
	$(PYTHON) -m bench.compiled_start $(BENCH_FLAGS)

.PHONY: bench-wake
bench-wake: venv ## from zero to the first token, by step, on real vLLM; on the cluster of `make up`
	$(PYTHON) -m bench.cluster.wake $(BENCH_FLAGS)

.PHONY: bench-turns
bench-turns: venv ## three models in a pool with room for two, ten minutes on real vLLM; on the cluster of `make up`
	$(PYTHON) -m bench.cluster.turns $(BENCH_FLAGS)

.PHONY: bench-zero-drop
bench-zero-drop: venv ## 10,000 requests through roll-outs, scale-downs, kills; on the cluster of `make up`
	$(PYTHON) -m bench.cluster.zero_drop $(BENCH_FLAGS)

.PHONY: bench-calibration
bench-calibration: venv ## the stand-in engine beside a real vLLM on one core; MODEL=folder, BERTH_ENGINE_PYTHON
	$(PYTHON) -m bench.engine --model $(MODEL)

.PHONY: bench-prefix
bench-prefix: venv ## routing policies on two real vLLM replicas; BERTH_ENGINE_PYTHON
	$(PYTHON) -m bench.prefix
	$(PYTHON) -m bench.prefix --opening

.PHONY: bench-prefix-simulated
bench-prefix-simulated: venv ## the same policies in simulated time, on two to eight engines; a minute
	$(PYTHON) -m bench.prefix.simulated
	$(PYTHON) -m bench.prefix.simulated --opening

.PHONY: bench-gateway
bench-gateway: venv ## the gateway on one core beside litellm, vllm-router and nginx; an hour
	python3 -m bench.gateway $(BENCH_FLAGS)

.PHONY: bench-engine64
bench-engine64: venv ## a real vLLM at 64 streams, with the gateway and without; MODEL=folder with weights
	python3 -m bench.gateway.engine64 --model $(or $(MODEL),$(error name a folder with weights in MODEL)) $(BENCH_FLAGS)

.PHONY: bench-designs
bench-designs: venv ## four data paths with one policy, from which the gateway's was chosen; ten minutes
	python3 -m bench.gateway.designs $(BENCH_FLAGS)

.PHONY: bench-operator
bench-operator: venv ## 1,000 models on a real control plane, beside a Go twin; builds KWOK and the twin
	$(PYTHON) -m bench.operator $(or $(BENCH_FLAGS),full twin bare latency)

.PHONY: bench-scaling
bench-scaling: venv ## replica laws in simulated time, beside their peers'; BERTH_TRACES, 20 minutes, BENCH_FLAGS=--quick one
	$(PYTHON) -m bench.simulator $(BENCH_FLAGS)

.PHONY: bench-residency
bench-residency: venv ## who stays in a pool, beside Ollama's rule and LRU, in simulated time; minutes
	$(PYTHON) -m bench.residency $(BENCH_FLAGS)
