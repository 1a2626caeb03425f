# `make demo` and `make test` set up everything they need; Python 3.10 or newer and make are enough.

PYTHON ?= python3
VENV ?= .venv
# Tests run side by side; most of the time they wait for programs that they have started.
WORKERS ?= auto
HOST_WORKERS ?= 2
# How long make fuzz looks, in all.
SECONDS ?= 60
BIN = $(VENV)/bin

.PHONY: help demo demo-stop test fuzz test-hosts test-faults lint types docs package clean

help:
	@echo 'make demo        deploy the example project to this machine and look at it'
	@echo 'make demo-stop   stop what make demo started'
	@echo 'make test        run the tests'
	@echo 'make fuzz        more of what nobody would write, for SECONDS (60)'
	@echo 'make test-hosts  deploy to real Debian hosts in namespaces (Linux, root)'
	@echo 'make test-faults every fault in every phase of a deployment, on such hosts; prints the matrix'
	@echo 'make lint        style, types, import contracts'
	@echo 'make docs        build the documentation'
	@echo 'make package     build the wheel and the sdist'

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit("django-deploy needs Python 3.10 or newer, $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.12 ..." if sys.version_info < (3, 10) else 0)'
	@$(PYTHON) -m venv $(VENV) || { echo 'On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.test: $(VENV)/.created pyproject.toml setup.py example_project/pyproject.toml example_project/reviews/pyproject.toml
	@echo 'Installing what the tests need into $(VENV) ...'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group test -e . -e example_project -e example_project/reviews
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group lint
	@touch $@

$(VENV)/.docs: $(VENV)/.test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group docs
	@touch $@

demo: $(VENV)/.created
	@$(BIN)/python example_project/demo.py start

demo-stop:
	@$(PYTHON) example_project/demo.py stop

test: $(VENV)/.test $(VENV)/.lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_FLAGS)

fuzz: $(VENV)/.test
	DJANGO_DEPLOY_FUZZ_SECONDS=$(SECONDS) $(BIN)/python -m pytest tests/fuzz -n $(WORKERS) $(PYTEST_FLAGS)

test-hosts: $(VENV)/.test
	$(BIN)/python -m pytest tests/hosts -n $(HOST_WORKERS) --dist loadfile -o addopts="-ra --strict-markers" $(PYTEST_FLAGS)

# Cells of any fault on any worker; who has ended takes from the others.
test-faults: $(VENV)/.test
	$(BIN)/python -m pytest tests/faults -n $(HOST_WORKERS) --dist worksteal -o addopts="-ra --strict-markers" $(PYTEST_FLAGS)

lint: $(VENV)/.lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build

package: $(VENV)/.test
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) build dist docs/_build *.egg-info
