"""Text from elsewhere (names, paths, messages) made safe to print: invisible and control characters are spelled out."""

_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    r"""The text with each character that a terminal obeys or hides as its escape, ``\x1b``: it stays on its line.

    These are control characters, line ends, marks that turn the direction of writing, spaces of no width and the like,
    and bytes of a file name that are not UTF-8. A backslash stays as it is, so a text may go through here twice.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    number = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if 0xDC80 <= number <= 0xDCFF:  # how Python keeps the byte 0x80 to 0xff of a name that is not UTF-8
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
