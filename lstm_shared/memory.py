"""How much memory there is, so that we can refuse what does not fit before allocating it."""

import os
from pathlib import Path

from lstm_shared.errors import InputError
from lstm_shared.sizes import in_words


def require_memory(what: str, needed: int) -> None:
    """Raise an InputError if something needs more bytes than this machine has or this process may use."""
    there = usable_memory()
    if there is not None and needed > there:
        at_least = in_words(min(needed, 10**21))  # the caller may ask for a size of any number of digits
        raise InputError(f"{what} would need at least {at_least} of memory, but only {in_words(there)} are available")


def usable_memory() -> int | None:
    """Return the bytes of memory that this process may use; None if unknown.

    This is the least of the machine's memory, its container's limit and the process's own limit.
    """
    found = [_bytes(name) for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    if os.name == "posix":
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        found.append(None if limit == resource.RLIM_INFINITY else limit)
    return min((number for number in found if number is not None), default=None)


def _bytes(file: str) -> int | None:
    """Return the number in a file of the kernel, or None if there is no limit."""
    try:
        return int(Path(file).read_text())
    except (OSError, ValueError):
        return None
