"""The rule for ``implementation="auto"``, and every other threshold that decides between two ways to run.

They depend only on the backend, the dtype and the sizes. ``lstm-parity bench`` repeats the measurements.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

# "cudnn" runs all layers at once: see cudnn.py. A kernel of another kind (Pallas, say) for one layer in one direction
# needs a name here and a line in by_name.py.
IMPLEMENTATIONS = ("auto", "scan", "chunked", "single-kernel", "cudnn")

# A batch of one gains from a single kernel up to about this many products per gate and step. Hidden 64 with 32 inputs
# runs 1.3 times as fast as the plain loop, forward and backward; hidden 128 runs no faster, hidden 256 slower.
LARGEST_SINGLE_KERNEL = 10_000

# Hidden sizes at which both directions of a layer share a loop. That starts half as many kernels, but it copies the
# inputs of the two directions into one array. Forward and backward, it is 1.2 to 1.5 times as fast up to hidden 16, 1.0
# to 1.3 times at 32, 0.9 to 1.05 times at 64 and 0.8 to 0.95 times at 128 (batch 2 to 128). Hidden 1 has no matrix
# products and runs 0.4 times as fast. In bfloat16, forward and backward run 0.9 times as fast.
SHARED_LOOP = range(2, 33)

# A chunk of steps shares one matrix product for its gradients. These are the most rows (steps times batch) and the most
# steps in a chunk: enough that the product's inner dimension is a few hundred, and few enough that the gathered
# gradients stay in the second-level cache. The measured speed is the same from 128 to 512 rows.
CHUNK_ROWS = 256
LONGEST_CHUNK = 16


class Sizes(NamedTuple):
    """What the choice may depend on. All of it is known before the program runs."""

    steps: int
    batch: int
    inputs: int
    hidden: int
    dtype: DTypeLike

    @property
    def known(self) -> bool:
        """Whether steps and batch are numbers. In a program that ``jax.export`` makes for any size, they are not."""
        return isinstance(self.steps, int) and isinstance(self.batch, int)


def choose(sizes: Sizes) -> str:
    """Return the implementation that "auto" means for these sizes on JAX's default backend.

    It is always one that works under every JAX transform.
    """
    if jax.default_backend() != "cpu":
        return "scan"  # the others were measured on CPU only
    if not sizes.known:
        return "scan"  # exported for any size: a chunk needs a known number of steps
    small = sizes.hidden * (sizes.inputs + sizes.hidden) <= LARGEST_SINGLE_KERNEL
    if sizes.batch == 1 and small and jnp.finfo(sizes.dtype).bits >= 32:
        return "single-kernel"
    return "chunked"


def resolve(implementation: str, sizes: Sizes) -> str:
    """Return the name itself, or what ``choose`` returns for "auto"."""
    return choose(sizes) if implementation == "auto" else implementation


def shares_loop(implementation: str, sizes: Sizes) -> bool:
    """Return whether both directions of a layer run in one loop."""
    small = sizes.hidden in SHARED_LOOP and jnp.finfo(sizes.dtype).bits >= 32
    return small and resolve(implementation, sizes) == "chunked"


def chunk_steps(batch: int) -> int:
    """Return how many steps the backward pass gathers for one product of the weight gradients."""
    return max(1, min(LONGEST_CHUNK, CHUNK_ROWS // max(1, batch)))


def features_first(batch: int, hidden: int, dtype: DTypeLike) -> bool:
    """Return whether the features-first loop is also faster when nothing is differentiated.

    Its arithmetic runs along the batch, so short rows starve the vector units. Measured against the plain loop, it is
    0.5 to 0.9 times as fast at batch 2 to 16 and hidden up to 128, 0.93 to 0.99 times at batch 32 and hidden 64 and
    128, and 1.0 to 1.3 times within this rule; in bfloat16 0.9 times. The backward pass gains at every batch size and
    in every dtype.
    """
    if jnp.finfo(dtype).bits < 32:
        return False
    return hidden >= 256 or (batch >= 64 and hidden >= 64)


def one_product(batch: int, inputs: int, hidden: int, dtype: DTypeLike, *, saving: bool) -> bool:
    """Return whether a step multiplies (x, h) by both weights at once, instead of adding two products.

    Measured in float32: forward 1.0 to 1.5 times as fast below hidden 128, 0.9 to 1.0 times at 128; forward and
    backward 1.03 to 1.2 times at batch 2 to 24 and hidden up to 128, 0.92 to 1.0 times at batch 32.

    XLA computes the product with a single input element by element, and does not vectorise the operations that it fuses
    with it. With a single input, one product is 1.3 to 3.3 times as fast forward at every size, but 0.85 to 1.0 times
    forward and backward, and 0.7 to 0.9 times in bfloat16.
    """
    if inputs == 1:
        return not saving and jnp.finfo(dtype).bits >= 32
    return batch < 32 and hidden <= 128 if saving else hidden < 128


def every_rule(sizes: Sizes) -> tuple[str, bool, bool, bool]:
    """Return what the rules for one direction say about these sizes. Equal answers mean the same path."""
    _, batch, inputs, hidden, dtype = sizes
    without, with_derivative = (one_product(batch, inputs, hidden, dtype, saving=saving) for saving in (False, True))
    return choose(sizes), features_first(batch, hidden, dtype), without, with_derivative
