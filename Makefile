# make repro   the whole pipeline on the embedded corpus; make test   lint, types and all tests; make docs   the guide.
# All work in a fresh clone: they make .venv and install the locked dependencies first.

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONUNBUFFERED := 1

.PHONY: install repro test lint format docs lock clean

install: .venv/installed

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --disable-pip-version-check --progress-bar off --quiet \
	    --constraint requirements.lock --editable '.[test,docs]'
	touch $@

repro: install
	dvc repro
	@echo
	@attention-lab summary

test: install lint
	pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: install
	ruff check .
	ruff format --check .
	mypy

format: install
	ruff check --fix .
	ruff format .

# The guide, into site/; a warning, such as a broken link, is an error.
docs: install
	sphinx-build --fail-on-warning --keep-going --quiet --doctree-dir site/.doctrees docs site
	@echo "open site/index.html"

# Versions without hashes: torch's wheel differs from platform to platform.
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager '.[test,benchmarks,notebook,docs]'
	.venv-lock/bin/python -m pip freeze --exclude attention-lab | sed 's/+cpu$$//' > requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis site docs/catalogue docs/notebook
