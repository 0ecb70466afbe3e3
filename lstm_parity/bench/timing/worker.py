"""The process of one contender. It waits for requests and answers them; each is one line of JSON.

``processes.py`` starts it as ``python -m lstm_parity.bench.timing.worker FRAMEWORK PROGRAMS THREADS DEVICE DISPATCH``.
Import nothing heavy at the top: the process must be pinned first, so that libraries size their thread pools for its
cores.
"""

import contextlib
import gc
import importlib
import json
import os
import sys
import time
from typing import Any, TextIO

# Even if a call takes longer than a round should last, a round has three samples: a median and its neighbours.
_FEWEST_SAMPLES = 3
_MOST_SAMPLES = 2000


def main() -> None:
    framework, programs, threads, device, dispatch = sys.argv[1:]
    answers = _keep_stdout()
    pin(int(threads))
    worker: Worker | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if worker is None:
                worker = Worker(framework, programs, int(threads), device, dispatch)
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # libraries may raise anything; the runner decides what it means
            answer = {"failed": f"{type(error).__name__}: {_first_line(error)}"}
        print(json.dumps(answer), file=answers, flush=True)


def pin(threads: int) -> None:
    """Pin this process to the last cores, if the system allows it. Other processes mostly use the first ones."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


class Worker:
    """Answers requests. Each public method is one kind of request."""

    def __init__(self, framework: str, programs: str, threads: int, device: str, dispatch: str):
        self._device = _prepare_framework(framework, threads, device, dispatch)
        module, function = programs.split(":")
        self._make = getattr(importlib.import_module(module), function)
        self._program: Any = None
        self._last = 0.0

    def about(self) -> dict[str, str | None]:
        """Return the name of the device it computes on; None if the requested one is not here."""
        return {"device": self._device}

    def prepare(self, case: dict[str, Any], mode: str, dtype: str, file: str) -> dict[str, float]:
        """Make the program, time its first call, and write its results to a .safetensors file."""
        from lstm_parity.bench.cases import BenchCase
        from lstm_shared.weight_files.load_save import save

        self.forget()
        self._program = program = self._make(BenchCase(**case), mode, dtype)
        with program.within():
            program.reset()
            began = time.perf_counter()
            result = program.call()
            self._last = time.perf_counter() - began
            shown = program.show(result)
        save(file, {f"{stage}/{name}": array for stage, arrays in shown.items() for name, array in arrays.items()})
        return {"first_call": self._last, "steps": program.steps}

    def sample(self, seconds: float) -> dict[str, list[float]]:
        """Call the program repeatedly for about this long. Return the time of each call in seconds."""
        program = self._program
        samples: list[float] = []
        gc.collect()
        gc.disable()  # as timeit does: a garbage collection that hits a call is not the cost of that call
        try:
            with program.within():
                program.reset()
                # Warm up: others have used the caches. A long call does not need it.
                for _ in range(2 if self._last < seconds / 4 else 0):
                    program.call()
                end = time.perf_counter() + seconds
                while len(samples) < _FEWEST_SAMPLES or (time.perf_counter() < end and len(samples) < _MOST_SAMPLES):
                    began = time.perf_counter()
                    result = program.call()
                    took = time.perf_counter() - began
                    samples.append(program.seconds(result) if program.seconds else took)
                    self._last = took
        finally:
            gc.enable()
        return {"samples": samples}

    def forget(self) -> dict[str, object]:
        """Drop the program and free its memory."""
        self._program = None
        gc.collect()
        return {}


def _keep_stdout() -> TextIO:
    """Return the real stdout for the answers, and send what libraries print to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _prepare_framework(framework: str, threads: int, device: str, dispatch: str) -> str | None:
    """Set threads, dispatch and precision. Return the name of the device, or None if it is not here."""
    if framework == "torch":
        import torch

        torch.set_num_threads(threads)
        with contextlib.suppress(RuntimeError):  # raised if something has run already
            torch.set_num_interop_threads(1)
        if device == "cpu":
            return "cpu"
        if not torch.cuda.is_available():
            return None
        # Use full float32 on both sides. By default, cuDNN's LSTM and JAX's products use TF32.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        return torch.cuda.get_device_name()
    import jax

    # Read when the backend starts, so this comes first.
    jax.config.update("jax_cpu_enable_async_dispatch", dispatch == "asynchronous")
    if device == "gpu":
        if jax.default_backend() != "gpu":
            return None
        jax.config.update("jax_default_matmul_precision", "highest")
    return jax.devices()[0].device_kind


def _first_line(error: BaseException) -> str:
    return next(filter(None, map(str.strip, str(error).splitlines())), "no message")


if __name__ == "__main__":
    main()
