"""An environment that has only what a page says to install, made in a moment: its packages are links to ours."""

import sys
import venv
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from pages import ROOT, Install

PROJECT = "lstm-parity"


def make_lean_environment(folder: Path, install: Install) -> Path:
    """Make a virtual environment with these extras of ours, these packages, and what they require; nothing else.

    Returns:
        its ``bin``.
    """
    venv.create(folder, with_pip=False)
    site_packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    names = {name for extra in install.extras for name in required(PROJECT, extra)}
    for package in install.packages:
        names |= {package, *required(package)}
    for name in names - {PROJECT}:
        for entry in top_level(name):
            link = site_packages / entry.name
            if not link.exists():
                link.symlink_to(entry)
    # Of ours the metadata, for the version and the plugin of pytest, and the checkout, as an editable install has it.
    for entry in top_level(PROJECT):
        if entry.suffix == ".dist-info":
            (site_packages / entry.name).symlink_to(entry)
    (site_packages / "checkout.pth").write_text(f"{ROOT}\n")
    script = folder / "bin" / PROJECT
    script.write_text(f"#!{folder}/bin/python\nfrom lstm_parity.__main__ import main\nmain()\n")
    script.chmod(0o755)
    return folder / "bin"


def required(name: str, extra: str = "", seen: set[tuple[str, str]] | None = None) -> set[str]:
    """The names of all distributions that this one requires, directly or not, itself left out."""
    seen = set() if seen is None else seen
    if (name, extra) in seen:
        return set()
    seen.add((name, extra))
    found: set[str] = set()
    for requirement in map(Requirement, distribution(name).requires or ()):
        if requirement.marker and not any(requirement.marker.evaluate({"extra": e}) for e in {"", extra}):
            continue
        try:
            distribution(requirement.name)
        except PackageNotFoundError:  # torch's CUDA packages, with its CPU build
            continue
        found.add(requirement.name)
        for one in ("", *requirement.extras):
            found |= required(requirement.name, one, seen)
    return found


def top_level(name: str) -> Iterator[Path]:
    """Files and folders of a distribution that lie directly in site-packages."""
    installed = distribution(name)
    site_packages = Path(str(installed.locate_file(""))).resolve()
    names = {file.parts[0] for file in installed.files or () if file.parts[0] not in ("..", "__pycache__")}
    return (site_packages / one for one in sorted(names))
