"""How much a file may unpack to: decided from shapes and headers, before anything is made of them."""

from lstm_shared.errors import WeightsError

# Weights hardly shrink when they are packed: float32 from N(0, 1) by 7 %, with nine of ten numbers zero to a sixth
# (zlib, level 6). All zeros shrink to a thousandth. So what people save stays below both: a hundred times its file, or,
# where the file is small, what a model of 67 million float32 numbers takes.
_TIMES, _ANYWAY = 100, 2**28

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def require_size(unpacked: int, file_size: int, what: str = "its arrays") -> None:
    """Refuse a file that unpacks to far more than its size, such as one number that is repeated a billion times.

    Args:
        unpacked: bytes that would be taken.
        file_size: bytes of the file.
        what: the subject of the message.

    Raises:
        WeightsError: it is more than a hundred times the file, and more than 268 MB.
    """
    if unpacked > max(_ANYWAY, _TIMES * file_size):
        raise WeightsError(
            f"{what} would take {in_words(unpacked)} or more, and the file has {in_words(file_size)}: "
            "refused, nothing of use shrinks that far"
        )


def in_words(size: int) -> str:
    """Bytes in the unit that suits them, with three digits."""
    number, unit = float(size), _UNITS[0]
    for larger in _UNITS[1:]:
        if number < 999.5:
            break
        number, unit = number / 1000, larger
    return f"{number:.3g} {unit}"
