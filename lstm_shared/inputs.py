"""The checks of everything that is not a weight. Both backends call these, so that both say the same."""

from typing import Any

from lstm_shared.errors import InputError


def require_prices(
    shape: tuple[int, ...], dtype: Any, long_memory: tuple[int, ...], short_memory: tuple[int, ...]
) -> None:
    """Check the inputs of the by-hand model by shape and dtype: prices (*series, days), memories () or (*series,).

    Raises:
        InputError: everything that is wrong.
    """
    problems = []
    if not shape:
        problems.append("prices is a single number, expected one a day: shape (days,) or (*series, days)")
    if "float" not in str(dtype):
        problems.append(f"prices holds {dtype}, expected floating-point numbers (write 1.0 for 1)")
    for name, memory in (("long_memory", long_memory), ("short_memory", short_memory)):
        if memory not in ((), shape[:-1]):
            problems.append(f"{name} has shape {memory}, expected () or one value a series, {shape[:-1]}")
    InputError.raise_any(problems)
