"""The rule by which ``implementation="auto"`` chooses, and every other threshold that decides between two ways to run.

All depend on the backend, the dtype and the sizes alone. ``lstm-parity bench`` repeats the measurements.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

# "cudnn" runs all layers at once: see cudnn.py. A kernel of another kind (Pallas, say) for one layer in one direction
# needs a name here and a line in by_name.py.
IMPLEMENTATIONS = ("auto", "scan", "chunked", "single-kernel", "cudnn")

# A batch of one gains from a single kernel up to about this many products a gate and step: hidden 64 with 32 inputs
# runs 1.3 times as fast as the plain loop, forward and backward; hidden 128 no faster, hidden 256 slower.
LARGEST_SINGLE_KERNEL = 10_000

# Hidden sizes at which both directions of a layer share a loop. That starts half as many kernels, but copies the inputs
# to lie side by side: 1.2 to 1.5 times as fast up to hidden 16, forward and backward, 1.0 to 1.3 times at 32, 0.9 to
# 1.05 times at 64 and 0.8 to 0.95 times at 128 (batch 2 to 128). Hidden 1, without matrix products, runs 0.4
# times as fast. In bfloat16, forward and backward run 0.9 times as fast.
SHARED_LOOP = range(2, 33)

# Steps whose gradients are taken in one matrix product: enough that its inner dimension, steps times batch, is
# some hundreds, and so few that the gathered gradients stay in the second-level cache. Measured flat from 128 to 512.
CHUNK_ROWS = 256
LONGEST_CHUNK = 16


class Sizes(NamedTuple):
    """What the choice may depend on: nothing that is known only when the program runs."""

    steps: int
    batch: int
    inputs: int
    hidden: int
    dtype: DTypeLike

    @property
    def known(self) -> bool:
        """Whether steps and batch are numbers: in a program that ``jax.export`` makes for any size they are not."""
        return isinstance(self.steps, int) and isinstance(self.batch, int)


def choose(sizes: Sizes) -> str:
    """The implementation that "auto" means for these sizes, on the backend that is JAX's default.

    Always one that works under every JAX transform.
    """
    if jax.default_backend() != "cpu":
        return "scan"  # the others were measured on CPU only
    if not sizes.known:
        return "scan"  # exported for any number of steps: a chunk needs a known number
    small = sizes.hidden * (sizes.inputs + sizes.hidden) <= LARGEST_SINGLE_KERNEL
    if sizes.batch == 1 and small and jnp.finfo(sizes.dtype).bits >= 32:
        return "single-kernel"
    return "chunked"


def resolve(implementation: str, sizes: Sizes) -> str:
    """The implementation of that name; what ``choose`` says for "auto"."""
    return choose(sizes) if implementation == "auto" else implementation


def shares_loop(implementation: str, sizes: Sizes) -> bool:
    """Whether both directions of a layer run in one loop."""
    small = sizes.hidden in SHARED_LOOP and jnp.finfo(sizes.dtype).bits >= 32
    return small and resolve(implementation, sizes) == "chunked"


def chunk_steps(batch: int) -> int:
    """How many steps the backward pass gathers for one product of the weight gradients."""
    return max(1, min(LONGEST_CHUNK, CHUNK_ROWS // max(1, batch)))


def features_first(batch: int, hidden: int, dtype: DTypeLike) -> bool:
    """Whether the features-first loop is also the faster one where nothing is differentiated.

    Its arithmetic runs along the batch, so short rows starve the vector units: measured against the plain loop 0.5 to
    0.9 times as fast at batch 2 to 16 and hidden up to 128, 0.93 to 0.99 times at batch 32 and hidden 64 and 128, 1.0
    to 1.3 times within this rule; in bfloat16 0.9 times. The backward pass gains at every batch and in every dtype.
    """
    if jnp.finfo(dtype).bits < 32:
        return False
    return hidden >= 256 or (batch >= 64 and hidden >= 64)


def one_product(batch: int, inputs: int, hidden: int, dtype: DTypeLike, *, saving: bool) -> bool:
    """Whether a step multiplies (x, h) with the weights of both at once, instead of adding two products.

    Measured in float32: forward 1.0 to 1.5 times as fast below hidden 128, 0.9 to 1.0 times at 128; forward and
    backward 1.03 to 1.2 times at batch 2 to 24 and hidden up to 128, 0.92 to 1.0 times at batch 32. The product with
    a single input XLA computes element by element, and does not vectorise what it fuses with it: forward 1.3 to 3.3
    times as fast in one product at every size, but forward and backward 0.85 to 1.0 times, and in bfloat16 0.7 to 0.9.
    """
    if inputs == 1:
        return not saving and jnp.finfo(dtype).bits >= 32
    return batch < 32 and hidden <= 128 if saving else hidden < 128


def every_rule(sizes: Sizes) -> tuple[str, bool, bool, bool]:
    """What the rules for one direction say of these sizes: where they say the same, the same path is taken."""
    _, batch, inputs, hidden, dtype = sizes
    without, with_derivative = (one_product(batch, inputs, hidden, dtype, saving=saving) for saving in (False, True))
    return choose(sizes), features_first(batch, hidden, dtype), without, with_derivative
