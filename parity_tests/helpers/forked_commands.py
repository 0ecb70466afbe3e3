"""Run commands as processes that need not import anything, because they are forked from one that already has.

As a program, this reads one request per line, forks, and answers how that process ended. ``Commands`` is the other end.
"""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

# What a standard stream of a command can be, apart from the name of a file.
CLOSED, FULL, BROKEN = "closed", "/dev/full", "broken"


class Ended(NamedTuple):
    """How a command ended: its exit code as a shell reports it, and what it wrote to its streams."""

    code: int
    out: str
    err: str


class Commands:
    """Starts commands in a directory. ``stop`` ends the process that they are forked from."""

    def __init__(self, directory: Path):
        self._directory = directory
        environment = os.environ | {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu", "COLUMNS": "200"}
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def run(
        self,
        *arguments: object,
        out: str = "stdout.txt",
        err: str = "stderr.txt",
        encoding: str = "utf-8",
        environment: dict[str, str] | None = None,
        prepare: str = "",
        number: int = 0,
        after: float = 0.0,
        when: str = "",
    ) -> Ended:
        """Run ``lstm-parity ARGUMENTS``.

        Args:
            out, err: a file's name, or CLOSED, FULL or BROKEN (a pipe that nobody reads).
            encoding: the encoding of both, as PYTHONIOENCODING sets it.
            environment: variables in addition to those of the tests.
            prepare: Python code to run before the command.
            number, after, when: send the signal ``number``, ``after`` seconds after the start or after the file
                ``when`` exists.
        """
        files = [self._directory / name for name in (out, err)]
        for file in files:
            if file.parent == self._directory:
                file.unlink(missing_ok=True)
        request = {
            "arguments": [str(argument) for argument in arguments],
            "streams": [out, err],
            "encoding": encoding,
            "environment": environment or {},
            "directory": str(self._directory),
            "prepare": prepare,
            "signal": [int(number), after, when],
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        code = json.loads(self._server.stdout.readline())
        said = [file.read_bytes().decode(errors="surrogateescape") if file.is_file() else "" for file in files]
        return Ended(code, *said)

    def stop(self) -> None:
        self._server.kill()
        self._server.communicate()


def _serve() -> None:
    import warnings

    warnings.simplefilter("ignore")  # about forking: JAX is loaded but has no threads yet

    import jax.numpy  # noqa: F401
    import lightning.pytorch  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import optax  # noqa: F401
    import torch  # noqa: F401

    import lstm_parity.cli  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        # Until main handles signals, they end the process as they end Python itself. None of them are ours to handle.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        child = os.fork()
        if not child:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        if not child:
            _run(request)
        print(json.dumps(_wait(child, request)), flush=True)


def _run(request: dict[str, Any]) -> None:
    """Run the request in the new process."""
    os.chdir(request["directory"])
    os.environ.update(request["environment"])
    for number, name in enumerate(request["streams"], 1):
        if name == CLOSED:
            os.close(number)
            continue
        if name == BROKEN:
            reader, handle = os.pipe()
            os.close(reader)
        else:
            handle = os.open(name, os.O_WRONLY | os.O_CREAT, 0o666)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdout, sys.stderr = (
        None if name == CLOSED else io.TextIOWrapper(io.FileIO(number, "w", closefd=False), request["encoding"])
        for number, name in enumerate(request["streams"], 1)
    )
    sys.argv = ["lstm-parity", *request["arguments"]]
    exec(request["prepare"], {})
    from lstm_parity.__main__ import main

    code = 1  # like any Python program that ends in an exception
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = 120  # Python's own code if it cannot write what is left
    os._exit(code)


def _wait(child: int, request: dict[str, Any]) -> int:
    number, after, when = request["signal"]
    if number:
        began = time.monotonic()
        file = Path(request["directory"], when)
        while when and not file.exists() and time.monotonic() < began + 120:
            time.sleep(0.01)
        time.sleep(after)
        os.kill(child, number)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _serve()
