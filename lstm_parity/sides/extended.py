"""The exact result of a case: forward, loss and gradients in NumPy long double, far below the rounding of float64.

Where two float64 implementations part by more than the rounding of a well-conditioned model, this says which of them
is nearer to the truth. Long double has 64 bits of mantissa on x86 (eps 1.1e-19, 2,048 times below float64's) and 113 on
64-bit ARM under Linux. NumPy's exp and tanh are the C library's ``expl`` and ``tanhl``: measured, at most 1.2 eps from
the truth.

How long it takes: BLAS has no long double, so a product and sum costs 4 ns on x86. 3 layers of hidden size 256 over 160
steps and 4 rows take 10 s on one core of an AMD EPYC; the time grows with layers · hidden² · steps · rows.
The loop goes over the steps only; the inputs' products and the weights' gradients are one product each.
"""

from dataclasses import replace

import numpy as np

from lstm_parity.sides.case import Case, Observation
from lstm_shared.errors import InputError

EXTENDED = np.longdouble


def observe(case: Case) -> Observation:
    """What the case's model computes exactly, in the form of ``torch_backend.observe``; every array is long double.

    Stages "forward", "loss" and "gradient"; no Adam steps. The weights, inputs and states are taken as the case has
    them: for the truth of what float32 was given, pass the case rounded to float32.

    Raises:
        InputError: long double is no wider than float64 on this machine.
    """
    require_extended()
    weights = {name: _extended(array) for name, array in case.weights.items()}
    state = {name: _extended(array) for name, array in case.state.items()}
    wide = replace(case, weights=weights, inputs=_extended(case.inputs), state=state)
    # A closed gate is exp(-z) = infinity and 1 / infinity = 0, which is right.
    with np.errstate(over="ignore", under="ignore"):
        forward, backward = case.kind.exact(wide)
        cotangents = {name: _extended(array) for name, array in case.cotangents.items()}
        loss = sum((np.sum(forward[name] * cotangents[name]) for name in cotangents), start=EXTENDED(0))
        missing = {name: np.zeros_like(array) for name, array in forward.items() if name not in cotangents}
        gradient = backward(cotangents | missing)
    named = {name: gradient[name] for name in case.spec.shapes} | {"inputs": gradient["inputs"]}
    named |= {f"{name}_0": gradient[name] for name in case.state}
    return {"forward": forward, "loss": {"loss": np.asarray(loss)}, "gradient": named}


def require_extended() -> None:
    """Refuse where long double is no wider than float64.

    Raises:
        InputError: it is not.
    """
    if not np.finfo(EXTENDED).eps < np.finfo(np.float64).eps:
        raise InputError(
            "NumPy's long double is no wider than float64 on this machine, so there is no extended-precision truth: "
            "use x86, or 64-bit ARM under Linux"
        )


def _extended(array: np.ndarray) -> np.ndarray:
    wide = np.asarray(array)
    return wide.astype(np.float64 if wide.dtype.itemsize < 8 else wide.dtype).astype(EXTENDED)
