"""The parent's side of the contenders' processes. Each process lives long and is idle until it gets a request."""

import json
import os
import selectors
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import Any

from lstm_parity.annotations import Json
from lstm_parity.bench.contenders.registry import Contender

# A benchmark in which one call or compilation takes longer than this is not worth continuing.
_PATIENCE_SECONDS = 600.0


class WorkerError(RuntimeError):
    """A contender failed at a request. The message says why, in one line."""


class Process:
    """The process of one contender. It starts with the first request, and starts again if it had to be stopped.

    Args:
        threads: number of cores it is pinned to and of threads it computes with.
        device: "cpu" or "gpu".
    """

    def __init__(self, contender: Contender, threads: int, device: str):
        dispatch = "synchronous" if contender.synchronous else "asynchronous"
        self._command = [contender.framework, contender.programs, str(threads), device, dispatch]
        self._environment = _environment(threads, device)
        self._process: subprocess.Popen[bytes] | None = None
        self._said: Any = None

    def ask(self, do: str, **request: Json) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Raises:
            WorkerError: the contender failed, died, or did not answer in time. If it died or was too slow, its process
                is gone, and the next request starts a new one.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write((json.dumps({"do": do, **request}) + "\n").encode())
            process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._died()) from None
        line = self._read_line(process)
        if not line:
            raise WorkerError(self._died())
        answer = json.loads(line)
        if "failed" in answer:
            raise WorkerError(answer["failed"])
        return answer

    def forget(self) -> None:
        """Ask the contender to drop its program, if its process still runs."""
        if self._process is not None:
            with suppress(WorkerError):  # if it has died, it holds nothing, and the next request starts another process
                self.ask("forget")

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._said):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:  # a last request that it never read
                continue
        self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed in stop(); nobody reads it, so a pipe would fill up
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "lstm_parity.bench.timing.worker", *self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=self._environment,
        )
        return self._process

    def _read_line(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(_PATIENCE_SECONDS):
                self.stop()
                raise WorkerError(f"no answer in {_PATIENCE_SECONDS:g} s")
        return process.stdout.readline()  # answers are written in one piece

    def _died(self) -> str:
        """Return the exit code and the last line on stderr of a process that has ended."""
        assert self._process is not None
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        self.stop()
        return f"its process ended with code {code}: {lines[-1].strip() if lines else 'it said nothing'}"


def _environment(threads: int, device: str) -> dict[str, str]:
    changes = {
        # How threads wait is not set here, so it is as users have it. torch's threads spin for about a millisecond; if
        # they may not, small models are 8 times as slow.
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "KERAS_BACKEND": "jax",
        # The first call must compile, even if an earlier run left its programs behind.
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        # All contenders' processes share one GPU.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONWARNINGS": "ignore",
    }
    if device == "cpu":
        changes |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return os.environ | changes
