"""The pages of the documentation, and the blocks of code on them."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

MAKEFILE = (ROOT / "Makefile").read_text()
MAKE_TARGETS = set(re.findall(r"^(\w+):", MAKEFILE, re.MULTILINE))

_INSTALLS = re.compile(r"`pip install -e '\.\[([a-z,]+)\]'((?: [\w.-]+)*)`")


class Block(NamedTuple):
    """A fenced block: its language, what is in it, and the line of the page on which it begins."""

    language: str
    body: str
    line: int

    @property
    def file_name(self) -> str | None:
        """The file that the block shows, if its first line is a comment with the name of one."""
        named = re.match(r"# (\w+\.py)\n", self.body)
        return named[1] if named else None


class Install(NamedTuple):
    """What a page says to install: our extras, and packages of others."""

    extras: frozenset[str]
    packages: frozenset[str]


def blocks(page: Path, *languages: str) -> list[Block]:
    """The page's blocks in these languages, from top to bottom."""
    text = page.read_text()
    found = re.finditer(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    every = [Block(block[1], block[2], text.count("\n", 0, block.start()) + 1) for block in found]
    return [block for block in every if block.language in languages]


def install_of(page: Path) -> Install:
    """What the page says, in its own text, that a reader has to install."""
    named = _INSTALLS.search(page.read_text())
    assert named, f"{page.name} has code that runs, but no line `pip install -e '.[…]'` that says what it needs"
    return Install(frozenset(named[1].split(",")), frozenset(named[2].split()))
