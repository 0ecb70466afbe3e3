"""Write a case to a file and read it back exactly: ``lstm-parity fuzz`` writes it, ``check --case`` replays it."""

import io
import os
from dataclasses import replace
from typing import NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike

from jax_lstm.recurrences.choose import IMPLEMENTATIONS
from lstm_parity.sides.case import Case, make_case
from lstm_parity.sides.kinds import kind_of
from lstm_shared.describe import describe
from lstm_shared.errors import InputError, ReportedError
from lstm_shared.finite import count_not_finite, largest_magnitude
from lstm_shared.safe_writing import write_file
from lstm_shared.specs import in_words
from lstm_shared.weight_files.load_save import read_arrays

_DTYPES = ("float64", "float32", "bfloat16", "float16")
_GROUPS = ("weights", "state", "cotangents")
_SCALARS = ("batch_first", "steps", "seed", "compiled")
_OPTIONAL = ("lengths", "reset")


class CaseFile(NamedTuple):
    """The content of a case file: a case, and how JAX runs it.

    Attributes:
        case: the case.
        compiled: whether JAX compiles it, or runs it operation by operation.
        implementation: the implementation of the recurrence.
    """

    case: Case
    compiled: bool
    implementation: str = "auto"


def write_case(
    path: str | os.PathLike[str], case: Case, *, compiled: bool = True, implementation: str = "auto"
) -> None:
    """Write a case as an ``.npz`` of plain numbers. The file is written whole or not at all.

    Its arrays are ``weights/NAME``, ``inputs``, ``state/NAME``, ``cotangents/NAME``, and ``lengths`` and ``reset`` if
    the case has them; the scalars ``batch_first``, ``steps``, ``seed`` and ``compiled``; and two names in ASCII,
    ``dtype`` and ``implementation``. NumPy cannot store bfloat16 in an ``.npz``. Such arrays are stored as float32, and
    ``read_case`` rounds them to ``dtype`` again.

    Raises:
        InputError: if the name does not end in .npz, or the case has floating-point arrays of several dtypes.
        OSError: if the file cannot be written.
    """
    require_case_name(path)
    floats = {"inputs": case.inputs}
    floats |= {f"{group}/{name}": array for group in _GROUPS for name, array in getattr(case, group).items()}
    dtypes = sorted({array.dtype.name for array in floats.values()})
    if len(dtypes) > 1:
        raise InputError(f"{path}: the case mixes {', '.join(dtypes)}; convert it to one dtype with case.astype")
    arrays: dict[str, ArrayLike] = {name: _plain(array) for name, array in floats.items()}
    arrays |= {name: value for name in _OPTIONAL if (value := getattr(case, name)) is not None}
    arrays |= {"batch_first": case.batch_first, "steps": case.steps, "seed": case.seed, "compiled": compiled}
    arrays |= {name: _letters(word) for name, word in (("dtype", dtypes[0]), ("implementation", implementation))}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_file(path, buffer.getvalue())


def read_case(path: str | os.PathLike[str]) -> CaseFile:
    """Read a file that ``write_case`` wrote. Every shape, length and option is checked, as in ``make_case``.

    Raises:
        OSError: if there is no such file, or it cannot be read.
        WeightsError: if the file is damaged, or its weights fit no model.
        InputError: if it is a different kind of ``.npz``, or something in it does not fit the rest.
    """
    require_case_name(path)
    arrays = read_arrays(path)
    needed = ("inputs", "dtype", *_SCALARS)
    missing = [name for name in needed if name not in arrays]
    missing += [f"{group}/…" for group in ("weights", "cotangents") if not _group(arrays, group)]
    if missing:
        raise InputError(f"{path}: not a case file, or an incomplete one: it has no {', '.join(missing)}")
    known = (*needed, *_OPTIONAL, "implementation")
    others = [name for name in arrays if name not in known and name.partition("/")[0] not in _GROUPS]
    if others:
        raise InputError(f"{path}: not a case file: it holds {', '.join(others[:5])}")
    dtype, implementation = (_word(arrays.get(name, _letters("auto"))) for name in ("dtype", "implementation"))
    for what, word, expected in (("dtype", dtype, _DTYPES), ("implementation", implementation, IMPLEMENTATIONS)):
        if word not in expected:
            raise InputError(f"{path}: its {what} is {word!r}, expected one of {', '.join(expected)}")
    scalars = {name: arrays[name] for name in _SCALARS}
    if wrong := [name for name, value in scalars.items() if value.shape != () or value.dtype.kind == "f" or value < 0]:
        raise InputError(f"{path}: {', '.join(wrong)}: expected a single whole number, 0 or larger")
    try:
        case = _case(arrays, scalars)
    except ReportedError as error:
        raise type(error)(f"{path}: {problem}" for problem in error.problems) from error
    return CaseFile(case.astype(dtype), bool(scalars["compiled"]), implementation)


def require_case_name(path: str | os.PathLike[str]) -> None:
    """Raise an InputError unless the file name ends in ``.npz``."""
    if os.path.splitext(path)[1].lower() != ".npz":
        raise InputError(f"{path}: the name of a case file must end in .npz")


def case_in_words(case: Case) -> str:
    """Describe the configuration and the sizes of a case in words."""
    words = [in_words(case.spec)]
    if not case.kind.has_bias:
        words.append("without bias")
    words.append(f"inputs {case.inputs.shape}" + (" (batch first)" if case.batch_first else ""))
    if case.lengths is not None:
        words.append(f"lengths {case.lengths.tolist()}")
    if case.reset is not None:
        words.append(f"{int(case.reset.sum())} of {case.reset.size} steps reset")
    if any(np.any(array) for array in case.state.values()):
        words.append("an initial state")
    if not case.state:
        words.append("called without a state")
    for what, arrays in (("weights", list(case.weights.values())), ("inputs", [case.inputs])):
        words.append(f"{what} up to {max(map(largest_magnitude, arrays)):.3g}")
        if unfit := sum(map(count_not_finite, arrays)):
            words[-1] += f" and {unfit} NaN or infinite"
    return ", ".join([*words, case.inputs.dtype.name])


def _case(arrays: dict[str, np.ndarray], scalars: dict[str, np.ndarray]) -> Case:
    """Return the case that a file holds, in the dtypes of the file."""
    weights, state, cotangents = (_group(arrays, group) for group in _GROUPS)
    states = kind_of(describe(weights)).states
    if state and set(state) != set(states):
        raise InputError(f"its states are {', '.join(state)}, expected {' and '.join(states)}")
    case = make_case(
        weights,
        arrays["inputs"],
        state=tuple(state[name] for name in states) if state else None,
        batch_first=bool(scalars["batch_first"]),
        lengths=arrays.get("lengths"),
        reset=arrays.get("reset"),
        steps=int(scalars["steps"]),
        seed=int(scalars["seed"]),
    )
    shapes, expected = ({name: array.shape for name, array in c.items()} for c in (cotangents, case.cotangents))
    if shapes != expected:
        raise InputError(f"its cotangents have the shapes {shapes}, expected {expected}")
    return replace(case if state else case.without_state(), cotangents=cotangents)


def _group(arrays: dict[str, np.ndarray], group: str) -> dict[str, np.ndarray]:
    prefix = f"{group}/"
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _letters(word: str) -> np.ndarray:
    return np.frombuffer(word.encode(), np.uint8)


def _word(letters: np.ndarray) -> str:
    return bytes(letters.astype(np.uint8)).decode("ascii", "replace")


def _plain(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array
