# Every target sets up what it needs. All that has to be there is Python 3.11 and make.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
EVERYDAY := not slow and not gpu
PACKAGES := bayesinv operators/bayesinv_operators datasets/bayesinv_datasets

.PHONY: help venv demo test test-all lint format docs constraints clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

venv: $(VENV)/.installed ## the environment, made or brought up to date
demo: venv ## the main job: train, sample, check, report (into runs/photoacoustic-line)
	$(BIN)/bayesinv demo
test: venv ## the everyday tests and every docstring's example
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m '$(EVERYDAY)' --durations=10 \
	  --doctest-modules tests $(PACKAGES)
test-all: venv docs ## the slow tests too, and the docs
	$(BIN)/python -m pytest --doctest-modules tests $(PACKAGES)
lint: venv ## style, types, and the floors that imports respect
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
format: venv ## bring the style into order
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
docs: $(VENV)/.installed-docs ## the site, into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
clean: ## remove what was built, but neither the environment nor runs/
	rm -rf build dist docs/_build docs/gallery .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# torch comes first and alone, so that a build of that version which is already there (such as one for CPUs) is kept.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt torch==2.13.0
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	touch $@
$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) install -q -c constraints.txt -e '.[dev,docs]'
	touch $@

constraints: ## the newest versions that fit together, into constraints.txt
	rm -rf $(VENV)-constraints
	$(PYTHON) -m venv $(VENV)-constraints
	$(VENV)-constraints/bin/python -m pip install -q torch==2.13.0
	$(VENV)-constraints/bin/python -m pip install -q -e '.[dev,docs]'
	{ echo "# Exact versions of everything that '.[dev,docs]' installs, made by 'make constraints' on Python 3.11."; \
	  $(VENV)-constraints/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.txt
	rm -rf $(VENV)-constraints
