"""The contenders' processes, seen from the one that asks: one long-lived process each, idle until it is asked."""

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

# Longer than any call or compilation of a benchmark that should go on.
_PATIENCE_SECONDS = 600.0


class WorkerError(RuntimeError):
    """A contender did not do what it was asked; the message says why, in one line."""


class Process:
    """One contender's process. It starts with the first request, and again after it had to be stopped.

    Args:
        threads: cores that it is pinned to and threads that it computes with.
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
            WorkerError: the contender failed, died, or did not answer in time; in the last two cases its process is
                gone, and the next request starts a new one.
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
        """Let the contender drop its program, if its process is still there."""
        if self._process is not None:
            with suppress(WorkerError):  # it has died since: then it holds nothing, and the next request starts another
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
            except BrokenPipeError:  # what it was asked last, and never read
                continue
        self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed in stop(); a pipe that nobody reads would fill up
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
        return process.stdout.readline()  # an answer is written at once

    def _died(self) -> str:
        """What a process that is gone said last."""
        assert self._process is not None
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        self.stop()
        return f"its process ended with code {code}: {lines[-1].strip() if lines else 'it said nothing'}"


def _environment(threads: int, device: str) -> dict[str, str]:
    changes = {
        # How threads wait is left as users have it: torch's spin for about a millisecond, and are 8 times as slow on
        # small models where they may not.
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "KERAS_BACKEND": "jax",
        # The first call is to compile, whatever an earlier run has left behind.
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        # Every contender has a process of its own on the same GPU.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONWARNINGS": "ignore",
    }
    if device == "cpu":
        changes |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return os.environ | changes
