"""Run someone else's code so that it affects only its own verdict, and undo what it changes in the process."""

import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypedDict, TypeVar

import jax
import numpy as np
import torch

from lstm_parity.sides.devices import full_precision
from lstm_shared.errors import InputError, Terminated

T = TypeVar("T")
Handler = Callable[[int, FrameType | None], object] | int


class _TorchSettings(TypedDict):
    """What a port may set in torch."""

    dtype: torch.dtype
    device: torch.device
    grad: bool
    threads: int
    deterministic: bool
    mkldnn: Any


@contextmanager
def strangers_code() -> Iterator[None]:
    """Run a port at full precision, then restore what it changed: modules, warnings, random states, framework settings.

    Any exception that it raises becomes an InputError that names the exception. So does an attempt to end the process.
    Only exceptions that come from a signal pass through: Ctrl-C and the request to terminate.
    """
    modules, path, environment, directory = dict(sys.modules), list(sys.path), dict(os.environ), os.getcwd()
    settings = dict(jax.config.values)
    of_torch = _torch_settings()
    streams = sys.stdin, sys.stdout, sys.stderr
    handlers, interrupted = _watch_interrupts()
    # A port may seed NumPy's old global generator.
    randomness = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        with warnings.catch_warnings(), np.errstate(), full_precision():
            yield
    except InputError:  # our own: the port returned the wrong thing
        raise
    except SystemExit as error:
        raise InputError(f"the candidate failed: it called sys.exit({error.code!r})") from error
    except BaseException as error:
        if isinstance(error, Terminated) or (isinstance(error, KeyboardInterrupt) and interrupted()):
            raise
        raise InputError(f"the candidate failed: {in_a_line(error)}") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        sys.stdin, sys.stdout, sys.stderr = streams
        _put_back(sys.modules, modules, keep_new=True)  # modules that it imported may stay
        _put_back(os.environ, environment)
        sys.path[:] = path
        os.chdir(directory)
        for name, value in settings.items():
            if jax.config.values[name] != value:
                jax.config.update(name, value)
        _restore_torch(of_torch)
        random.setstate(randomness[0])
        np.random.set_state(randomness[1])  # noqa: NPY002
        torch.set_rng_state(randomness[2])


def in_a_line(error: BaseException) -> str:
    """Return an exception as ``TypeError: the first line of its message``."""
    try:
        message = str(error)
    except Exception:  # str() of someone else's exception may fail too
        message = ""
    return f"{type(error).__name__}: {(message.splitlines() or ['no message'])[0]}"


def _watch_interrupts() -> tuple[dict[signal.Signals, Handler], Callable[[], bool]]:
    """Return the handlers of SIGINT and SIGTERM, to restore later, and a function that says whether SIGINT came.

    A port may raise KeyboardInterrupt by itself, so the exception alone proves nothing. Outside the main thread no
    handler can be set, and every KeyboardInterrupt counts as a SIGINT.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}, lambda: True
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: handler for number in numbers if (handler := signal.getsignal(number)) is not None}
    before = handlers.get(signal.SIGINT)
    came = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        assert callable(before)
        before(number, frame)

    if callable(before):
        signal.signal(signal.SIGINT, handle)
    return handlers, lambda: bool(came)


def _put_back(now: MutableMapping[str, T], before: Mapping[str, T], *, keep_new: bool = False) -> None:
    if not keep_new:
        for name in [name for name in now if name not in before]:
            del now[name]
    for name, value in before.items():
        if name not in now or now[name] is not value:
            now[name] = value


def _torch_settings() -> _TorchSettings:
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "grad": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": torch.backends.mkldnn.enabled,
    }


def _restore_torch(before: _TorchSettings) -> None:
    now = _torch_settings()
    if now["dtype"] != before["dtype"]:
        torch.set_default_dtype(before["dtype"])
    if now["device"] != before["device"]:
        torch.set_default_device(before["device"])
    if now["threads"] != before["threads"]:
        torch.set_num_threads(before["threads"])
    if now["deterministic"] != before["deterministic"]:
        torch.use_deterministic_algorithms(before["deterministic"])
    if now["mkldnn"] != before["mkldnn"]:
        torch.backends.mkldnn.enabled = before["mkldnn"]
    torch.set_grad_enabled(before["grad"])
