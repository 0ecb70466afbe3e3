"""The machine of a benchmark: the processor, the versions, and the environment variables that change the speed."""

import os
import platform
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

_DISTRIBUTIONS = ("lstm-parity", "jax", "jaxlib", "flax", "optax", "torch", "lightning", "numpy")
_PEER_DISTRIBUTIONS = {"haiku": "dm-haiku", "equinox": "equinox", "keras": "keras"}

# Settings of the compiler, glibc's allocator (fresh memory costs page faults) and the thread pools.
_SPEED_VARIABLES = re.compile(r"XLA_|JAX_|MALLOC_|GLIBC_TUNABLES$|OMP_|KMP_|MKL_|ONEDNN_|DNNL_|TORCH|LD_PRELOAD$")


def processor() -> dict[str, str | int]:
    """Return the model name of the CPU, how many cores it has, and how many this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"cpu": _model_name(), "cores": os.cpu_count() or 1, "usable cores": usable}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return distribution -> version, for Python, the frameworks and the peers that took part."""
    names = [*_DISTRIBUTIONS, *(_PEER_DISTRIBUTIONS[name] for name in packages if name in _PEER_DISTRIBUTIONS)]
    found = {"python": platform.python_version()}
    for name in dict.fromkeys(names):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def speed_variables() -> dict[str, str]:
    """Return the environment variables that change how fast contenders run. LD_PRELOAD is cut to file names."""
    found = {name: value for name, value in sorted(os.environ.items()) if _SPEED_VARIABLES.match(name)}
    if "LD_PRELOAD" in found:
        found["LD_PRELOAD"] = " ".join(Path(library).name for library in re.split("[ :]+", found["LD_PRELOAD"]))
    return found


def _model_name() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:  # not Linux
        found = None
    return found[1] if found else platform.processor() or platform.machine()
