"""``implementation="cudnn"``: all layers and directions in one call to NVIDIA's library, through jax.experimental.rnn.

It supports only reverse mode (no ``jvp``, no ``hessian``) and only float32, so "auto" never chooses it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jax.experimental import rnn
from jax.lax import PrecisionLike
from jaxtyping import Array, Float, Int

from jax_lstm.recurrences.step import State
from lstm_shared.errors import InputError
from lstm_shared.names import place_name
from lstm_shared.specs import LSTMSpec


def require_cudnn(
    spec: LSTMSpec, inputs: Array, *, has_reset: bool, dropout: float, recompute: int | None, platform: str
) -> None:
    """Raise an error if the library cannot run this call.

    Raises:
        InputError: one line for each thing that the library cannot do.
    """
    problems = []
    if platform not in ("gpu", "cuda"):
        problems.append(f"needs an NVIDIA GPU, JAX's default backend is {platform}")
    if inputs.dtype != jnp.float32:
        problems.append(f"computes in float32 only, the inputs are {inputs.dtype}")
    if spec.proj_size:
        problems.append(f"has no projections, the weights have one (proj_size {spec.proj_size})")
    if has_reset:
        problems.append("has no resets")
    if dropout:
        problems.append("has no dropout that JAX could reproduce")
    if recompute is not None:
        problems.append("decides itself what it keeps, so recompute has no effect")
    if not inputs.shape[0] or not inputs.shape[1]:
        problems.append(f"needs at least one step and one sequence, the inputs have {inputs.shape[:2]}")
    InputError.raise_any([f'implementation="cudnn" {problem}: use "auto"' for problem in problems])


def pack(spec: LSTMSpec, params: Mapping[str, Array]) -> Float[Array, " parameters"]:
    """Return the library's flat array: the matrices of every layer and direction, then their biases."""
    places = [place_name(*place) for place in spec.places]
    matrices = [params[f"weight_{kind}_{place}"] for place in places for kind in ("ih", "hh")]
    biases = [
        params[f"bias_{kind}_{place}"] if spec.bias else jnp.zeros(4 * spec.hidden_size, jnp.float32)
        for place in places
        for kind in ("ih", "hh")
    ]
    return jnp.concatenate([array.ravel() for array in (*matrices, *biases)])


def run_cudnn(
    spec: LSTMSpec,
    params: Mapping[str, Array],
    inputs: Float[Array, "time batch inputs"],
    state: tuple[Float[Array, "layers batch hidden"], Float[Array, "layers batch hidden"]],
    *,
    lengths: Int[Array, " batch"] | None,
    precision: PrecisionLike,
    lstm: Callable[..., Any] = rnn.lstm,
) -> tuple[Float[Array, "time batch output"], State]:
    """Run all layers and directions.

    Args:
        precision: None and "high" allow TF32, as they do in JAX's matrix products; "highest" does not.
        lstm: the library's function. Tests on a CPU replace it.
    """
    h_0, c_0 = state
    steps, batch = inputs.shape[:2]
    # The library needs lengths of at least 1. A sequence without steps runs for one, and its result is discarded.
    known = jnp.full(batch, steps, jnp.int32) if lengths is None else jnp.clip(lengths, 1, steps).astype(jnp.int32)
    outputs, h_n, c_n = lstm(
        jnp.swapaxes(inputs, 0, 1),
        h_0,
        c_0,
        pack(spec, params),
        known,
        spec.input_size,
        spec.hidden_size,
        spec.num_layers,
        0.0,
        len(spec.directions) == 2,
        precision,
    )
    outputs = jnp.swapaxes(outputs, 0, 1)
    if lengths is not None:
        valid = jnp.arange(steps)[:, None] < lengths[None, :]
        outputs = jnp.where(valid[..., None], outputs, jnp.zeros_like(outputs))
        some = (lengths > 0)[None, :, None]
        h_n, c_n = jnp.where(some, h_n, h_0), jnp.where(some, c_n, c_0)
    return outputs, (h_n, c_n)
