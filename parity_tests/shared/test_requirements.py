"""A backend whose framework is not installed says what to install; any other missing module is reported as it is."""

import subprocess
import sys

import pytest

# Finds none of the blocked modules, as if they were not installed; then runs the import and prints how it fails.
IMPORT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name == {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
try:
    {statement}
except ImportError as error:
    print(type(error).__name__, error.name, error, sep="|")
"""

TORCH = "torch_lstm needs PyTorch and Lightning: pip install 'lstm-parity[torch]'"
JAX = "jax_lstm needs JAX and optax: pip install 'lstm-parity[jax]'"
FLAX = "jax_lstm.{} needs Flax: pip install 'lstm-parity[jax]'"


def import_without(blocked: str, statement: str) -> str:
    code = IMPORT.format(blocked=blocked, statement=statement)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.rstrip("\n")


@pytest.mark.parametrize(
    ("blocked", "statement", "message"),
    [
        ("torch", "import torch_lstm", TORCH),
        ("lightning", "import torch_lstm", TORCH),
        ("lightning", "from torch_lstm.training import fit", TORCH),
        ("jax", "import jax_lstm", JAX),
        ("optax", "import jax_lstm", JAX),
        ("flax", "from jax_lstm import linen", FLAX.format("linen")),
        ("flax", "import jax_lstm; jax_lstm.nnx", FLAX.format("nnx")),
        ("flax", "import jax_lstm.linen", FLAX.format("linen")),
        ("flax", "from jax_lstm.nnx import LSTM", FLAX.format("nnx")),
    ],
)
def test_a_missing_framework_is_named_with_what_to_install(blocked, statement, message):
    assert import_without(blocked, statement) == f"ModuleNotFoundError|{blocked}|{message}"


@pytest.mark.parametrize(
    ("blocked", "statement"),
    [
        ("safetensors", "import torch_lstm"),
        ("torchmetrics", "import torch_lstm"),  # what Lightning needs, and pip installs with it
        ("lightning.pytorch", "import torch_lstm"),  # Lightning is there, but damaged
        ("jaxtyping", "import jax_lstm"),
        ("msgpack", "import jax_lstm; jax_lstm.linen"),
    ],
)
def test_any_other_missing_module_comes_through_unchanged(blocked, statement):
    assert import_without(blocked, statement) == f"ModuleNotFoundError|{blocked}|No module named {blocked!r}"


def test_jax_lstm_itself_does_not_need_flax():
    assert import_without("flax", "import jax_lstm") == ""
