# Every target works as the only command from a bare clone: it makes .venv and installs what it needs there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# -qq: errors only.
INSTALL := $(PIP) install -qq --constraint constraints.txt --editable

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-torch test-keras test-bounds quick check bench bench-keras bench-metrics bench-runs bench-page bench-watch test-gpu test-rest test-browser test-release test-types docs slow proofs format house clean

# Keras is one engine a process.
ENGINES ?= tensorflow jax torch
ENGINE ?= tensorflow
KERAS_TESTS := tests/methods/test_methods.py tests/metrics/test_metrics.py tests/on_keras
# What `make test` runs on the other engines than the first: JAX compiles for seconds what others run at once.
OTHERS := $(wordlist 2,9,$(ENGINES))
CORE := tests/methods/test_methods.py
# What runs the docs and the worked projects; `make test` is to stay under 15 minutes on two cores.
PAGES := tests/examples tests/test_docs_blocks.py
# One thread a process, since there are two processes.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

# The core on PyTorch: methods against their formulas, targets, places, pictures, files, arguments.
QUICK := tests/methods/test_methods.py tests/methods/test_axioms.py tests/targets/test_targets.py tests/results/test_regions.py tests/test_files.py tests/test_doctests.py

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.demo  ## explain the bundled photo with the embedded model
	$(BIN)/gradsight demo

test: $(VENV)/.dev  ## run the tests, on Keras with each engine; without those of `make test-rest`
	@$(MAKE) --no-print-directory test-keras ENGINE=$(firstword $(ENGINES))
	@for engine in $(OTHERS); do $(MAKE) --no-print-directory test-keras ENGINE=$$engine FILES=$(CORE) || exit 1; done
	$(PYTEST) $(addprefix --ignore=,$(PAGES)) $(ARGS)

# What shows once more, on other engines, what one shows, what other libraries give, and that docs and projects run.
test-rest: $(VENV)/.dev  ## run the rest of the tests on JAX and on Keras' PyTorch, those beside other libraries, and the blocks of the docs
	@for engine in $(OTHERS); do $(MAKE) --no-print-directory test-keras ENGINE=$$engine FILES="$(filter-out $(CORE),$(KERAS_TESTS))" || exit 1; done
	@$(MAKE) --no-print-directory test-keras ENGINE=tensorflow ARGS="-m 'peers and not slow'"
	$(PYTEST) -m 'peers and not slow' $(ARGS)
	$(PYTEST) $(PAGES)

test-torch: $(VENV)/.dev  ## run the tests on PyTorch; ARGS=FILE one of them
	$(PYTEST) $(ARGS)

test-keras: $(VENV)/.dev  ## run the tests on one engine of Keras; ENGINE=jax, FILES=FILE one of them
	@echo "Keras on $(ENGINE):"
	@GRADSIGHT_TEST_ON=keras KERAS_BACKEND=$(ENGINE) $(PYTEST) $(if $(FILES),$(FILES),$(KERAS_TESTS)) $(ARGS)

# The lowest versions that pyproject.toml allows, in an environment of their own; others by LOWEST="torch==2.13.0 torchvision==0.28.0".
BOUNDS := .venv-lowest
LOWEST ?=
# What builds a release, in an environment of its own.
RELEASE := .venv-release
BOUNDS_TESTS := tests/methods/test_methods.py tests/models/test_models.py tests/models/test_models_files.py \
	tests/models/test_models_timm.py tests/models/test_models_huggingface.py tests/models/test_models_onnx.py \
	tests/models/test_hostile_models.py tests/test_files.py tests/cli/test_cli.py \
	tests/runs/test_store.py tests/runs/test_opened.py tests/runs/test_lists.py tests/runs/test_run.py tests/reporting/test_report.py \
	tests/watching/test_watch.py tests/test_notebook.py tests/pages/test_answers.py tests/pages/test_served.py
BOUNDS_KERAS := tests/on_keras/test_keras_models.py tests/on_keras/test_keras_sources.py tests/on_keras/test_keras_hostile.py
# Warnings are none of ours there: old versions warn of new ones beside them.
BOUNDS_PYTEST := OMP_NUM_THREADS=1 $(BOUNDS)/bin/python -m pytest -n 2 -W default

test-bounds: $(BOUNDS)/.done  ## run a core of the tests at the lowest versions that are declared
	$(BOUNDS_PYTEST) $(BOUNDS_TESTS) $(ARGS)
	@for engine in $(ENGINES); do GRADSIGHT_TEST_ON=keras KERAS_BACKEND=$$engine $(BOUNDS_PYTEST) $(BOUNDS_KERAS) $(ARGS) || exit 1; done

quick: $(VENV)/.dev  ## run the core of the tests, under a minute
	$(PYTEST) $(QUICK) $(ARGS)

check: $(VENV)/.dev  ## formatting, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev  ## time gradsight beside its peers
	$(BIN)/python benchmarks/bench.py $(ARGS)

bench-metrics: $(VENV)/.dev  ## time metrics beside those of other libraries
	$(BIN)/python benchmarks/bench_metrics.py $(ARGS)

bench-keras: $(VENV)/.dev  ## time gradsight on each engine of Keras
	@for engine in $(ENGINES); do KERAS_BACKEND=$$engine $(BIN)/python benchmarks/bench_keras.py $(ARGS) || exit 1; done

bench-runs: $(VENV)/.dev  ## time runs over a folder beside a bare loop, and other libraries in a loop
	$(BIN)/python benchmarks/bench_runs.py $(ARGS)

bench-page: $(VENV)/.dev  ## time the page beside a plain pass, and sixteen clients at once
	$(BIN)/python benchmarks/bench_page.py $(ARGS)

# One process: each has a browser of its own.
test-browser: $(VENV)/.dev  ## run the tests that open pages in Chromium, which is installed if need be
	@scripts/install_chromium.sh
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'browser and not slow' $(ARGS)

bench-watch: $(VENV)/.dev  ## time watching a video beside plain inference
	$(BIN)/python benchmarks/bench_watch.py $(ARGS)

test-gpu: $(VENV)/.dev  ## run only the tests that need a GPU; the environment's PyTorch must be one for it
	$(BIN)/python -m pytest -m gpu tests/gpu $(ARGS)

slow: $(VENV)/.dev  ## run only the tests marked slow
	$(BIN)/python -m pytest -m slow $(ARGS)

proofs: $(VENV)/.dev  ## kill runs and their workers, and measure their memory; some 20 minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -s tests/runs $(ARGS)

docs: $(VENV)/.docs  ## build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

test-types: $(VENV)/.dev  ## what a user's pyright says of the public API; it needs node
	$(BIN)/pyright --pythonpath $(BIN)/python

test-release: $(RELEASE)/.done  ## build wheel and sdist, install them in clean environments, use them; ARGS=--newest
	$(RELEASE)/bin/python scripts/check_release.py $(ARGS)

format: $(VENV)/.dev  ## format, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

house:  ## print how the code stands, in figures; the tests hold most of them
	$(PYTHON) scripts/measure_house.py $(ARGS)

clean:  ## remove .venv, caches and build output
	rm -rf $(VENV) $(BOUNDS) $(RELEASE) build dist site gradsight-out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the last thing that venv writes, so its presence means that the environment is whole.
$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing gradsight with PyTorch into $(VENV) (a few minutes, the first time only) ..."
	$(INSTALL) '.[cli,demo]'
	@touch $@

$(BOUNDS)/.done: pyproject.toml scripts/lowest.py
	$(PYTHON) -m venv --clear $(BOUNDS)
	$(PYTHON) scripts/lowest.py $(LOWEST) > $(BOUNDS)/lowest.txt
	$(BOUNDS)/bin/python -m pip install -qq --disable-pip-version-check --requirement $(BOUNDS)/lowest.txt --editable .
	@touch $@

# Only what builds the site: it reads the code, and does not import it.
$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing what builds the site into $(VENV) ..."
	$(PIP) install -qq --constraint constraints.txt $(shell $(PYTHON) scripts/group.py docs)
	@touch $@

$(RELEASE)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(RELEASE)
	$(RELEASE)/bin/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt $(shell $(PYTHON) scripts/group.py release)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt tests/no-deps.txt | $(BIN)/pip
	@echo "Installing gradsight with its tests and checks into $(VENV) (a few minutes, the first time only) ..."
	$(INSTALL) '.[cli,demo,test,dev]'
	$(PIP) install -qq --no-deps --requirement tests/no-deps.txt
	@touch $(VENV)/.demo $@
