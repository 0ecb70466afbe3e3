"""The house: which package may load which framework, and what the doors are called."""

import importlib
import subprocess
import sys

import pytest

FORBIDDEN = {
    "lstm_shared": {"jax", "torch", "flax", "lightning", "optax", "matplotlib", "rich"},
    "jax_lstm": {"torch", "lightning", "torch_lstm", "lstm_parity"},
    "torch_lstm": {"jax", "flax", "optax", "jax_lstm", "lstm_parity"},
    "lstm_parity": {"jax", "torch"},  # until something is asked of it: --help answers at once
    "lstm_parity.cli": {"jax", "torch", "matplotlib"},
}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_does_not_load_what_its_floor_must_not_know(package: str):
    code = f"import sys, {package}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert package.split(".")[0] in done.stdout.split()
    assert FORBIDDEN[package].isdisjoint(done.stdout.split())


@pytest.mark.parametrize("package", ["lstm_shared", "jax_lstm", "torch_lstm", "lstm_parity"])
def test_every_public_name_is_there_and_documented(package: str):
    module = importlib.import_module(package)
    for name in module.__all__:
        thing = getattr(module, name)
        if callable(thing) or isinstance(thing, type(module)):
            assert thing.__doc__, f"{package}.{name} has no docstring"


def test_x64_is_not_switched_on_by_importing():
    code = "import lstm_parity.verdict.check, jax; print(jax.config.jax_enable_x64)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
