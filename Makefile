# Everything runs in .venv, made from constraints.txt; Python 3.11 or newer and make are all that is needed.
# Another Python than python3: make PYTHON=python3.12 check

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
INSTALLED = $(MAKE) --no-print-directory --silent

.PHONY: check test docs clean python

# The verdict: both backends on the LSTM by hand.
check: python
	@$(INSTALLED) .venv/.all
	$(BIN)/lstm-parity check

test: python
	@$(INSTALLED) .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

# Strict: a warning, such as a link that leads nowhere, is an error.
docs: python
	@$(INSTALLED) .venv/.docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -c docs . build/docs
	@echo "the documentation is in build/docs/index.html"

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis lightning_logs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A .venv that is broken, too old or of another Python than the one that was named would fail later, and in the dark.
python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1), expected Python 3.11 or newer: name one, as in make PYTHON=python3.12 $(or $(MAKECMDGOALS),check)" >&2; exit 2; }
	@wanted=$$($(PYTHON) -c 'import sys; print(*sys.version_info[:2], sep=".")'); \
	found=$$($(BIN)/python -c 'import sys; print(*sys.version_info[:2], sep=".") if sys.version_info >= (3, 11) else None' 2>/dev/null); \
	if [ -d .venv ] && { [ -z "$$found" ] || { [ "$(origin PYTHON)" != file ] && [ "$$found" != "$$wanted" ]; }; }; then \
	  echo "making .venv anew, with Python $$wanted"; rm -rf .venv; fi; \
	[ -d .venv ] || $(PYTHON) -m venv .venv

# torch first and by its pin: nothing that is installed after it then asks for another build.
.venv/.all: pyproject.toml constraints.txt
	$(INSTALL) torch
	$(INSTALL) --editable '.[all]'
	touch $@

.venv/.docs: .venv/.all
	$(INSTALL) --editable '.[docs]'
	touch $@

.venv/.test: .venv/.all
	$(INSTALL) --editable '.[test]'
	touch $@
