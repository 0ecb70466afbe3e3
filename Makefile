# Everything runs in .venv, made from constraints.txt; python3 (3.11 or newer) and make are all that is needed.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: check test clean

# The verdict: both backends on the LSTM by hand.
check: .venv/.all
	$(BIN)/lstm-parity check

test: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis lightning_logs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	$(PYTHON) -m venv .venv

# torch first and by its pin: nothing that is installed after it then asks for another build.
.venv/.all: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) torch
	$(INSTALL) --editable '.[all]'
	touch $@

.venv/.test: .venv/.all
	$(INSTALL) --editable '.[test]'
	touch $@
