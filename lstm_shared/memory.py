"""How much memory there is, so that what cannot fit is refused before it is allocated."""

import os
from pathlib import Path

from lstm_shared.errors import InputError
from lstm_shared.sizes import in_words


def require_memory(what: str, needed: int) -> None:
    """Raise an InputError when something needs more bytes than this machine, or this process, may have."""
    there = usable_memory()
    if there is not None and needed > there:
        at_least = in_words(min(needed, 10**21))  # a size may have any number of digits
        raise InputError(f"{what} would need at least {at_least} of memory, and {in_words(there)} are there")


def usable_memory() -> int | None:
    """Bytes: of the machine, its container or the process's own limit, whichever is least; None if unknown."""
    found = [_bytes(name) for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    if os.name == "posix":
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        found.append(None if limit == resource.RLIM_INFINITY else limit)
    return min((number for number in found if number is not None), default=None)


def _bytes(file: str) -> int | None:
    """The number in one of the kernel's files; None if there is no limit."""
    try:
        return int(Path(file).read_text())
    except (OSError, ValueError):
        return None
