"""How much a file may unpack to. This is decided from shapes and headers, before any array is made."""

from lstm_shared.errors import WeightsError

# Weights hardly compress: float32 from N(0, 1) shrink by 7 %, and to a sixth if nine of ten numbers are zero (zlib,
# level 6). All zeros shrink to a thousandth. So we allow a hundred times the file's size, or, if the file is small, the
# size of a model with 67 million float32 numbers. The weights that people save stay below that.
_TIMES, _ANYWAY = 100, 2**28

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def require_size(unpacked: int, file_size: int, what: str = "its arrays") -> None:
    """Refuse a file that unpacks to far more than its size, such as one number repeated a billion times.

    Args:
        unpacked: bytes of memory that the content would take.
        file_size: bytes of the file.
        what: the subject of the message.

    Raises:
        WeightsError: the content would take more than a hundred times the file's size, and more than 268 MB.
    """
    if unpacked > max(_ANYWAY, _TIMES * file_size):
        raise WeightsError(
            f"{what} would take {in_words(unpacked)} or more, but the file has only {in_words(file_size)}: "
            "refused, no useful content compresses that far"
        )


def in_words(size: int) -> str:
    """Return a number of bytes in a suitable unit, with three digits."""
    number, unit = float(size), _UNITS[0]
    for larger in _UNITS[1:]:
        if number < 999.5:
            break
        number, unit = number / 1000, larger
    return f"{number:.3g} {unit}"
