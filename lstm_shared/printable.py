"""Make text from elsewhere (names, paths, messages) safe to print: escape invisible and control characters."""

_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    r"""Escape each character that a terminal obeys or hides: write ``\x1b``, for example, in its place.

    The text then stays on one line. These are control characters, line ends, marks that change the writing direction,
    zero-width spaces and the like, and bytes of a file name that are not UTF-8. A backslash stays as it is, so escaping
    a text twice does no harm.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    number = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if 0xDC80 <= number <= 0xDCFF:  # Python stores bytes 0x80 to 0xff of a name that is not UTF-8 this way
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
