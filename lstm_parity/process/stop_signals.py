"""SIGINT and SIGTERM: end a command with the exit code that shells expect, whatever it is doing."""

import _thread
import os
import select
import signal
import sys
import threading
import time
from types import FrameType, TracebackType

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}

# Python sees a signal only between two of its own instructions. A call into a framework that compiles or runs a whole
# training may take longer. It may also be the last part of a run that is about to be saved, so we wait for it a while.
_GRACE_SECONDS = 5.0
_SECOND_GRACE_SECONDS = 0.5
# An import loses no work: it can be repeated, and a run that has begun has most of its imports behind it.
_IMPORT_GRACE_SECONDS = 1.0


class StopSignals:
    """While the block runs, SIGINT raises KeyboardInterrupt and SIGTERM raises ``lstm_shared.errors.Terminated``.

    Before ``work_begins`` and after ``work_ends`` there is nothing to save, and a signal ends the process at once.

    In between, the exception waits until an import has finished. If it were raised inside one, the frameworks' C++ code
    would abort, or an ``except`` would mistake it for a missing package. If Python swallows the exception, as it does
    in a finalizer, it is raised again. If the main thread is stuck in a framework and raises nothing, the process ends
    after a few seconds, or at the second signal.

    Attributes:
        received: the first signal that arrived, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._working = False
        self._handled = threading.Event()  # the main thread has raised the exception
        self._deferred = threading.Event()  # it has not yet, because it is importing
        self._before: dict[signal.Signals, object] = {}
        self._watcher: threading.Thread | None = None

    @property
    def exit_code(self) -> int:
        """The exit code for the first signal, 0 if none arrived."""
        return 0 if self.received is None else EXIT_CODES[self.received]

    def work_begins(self) -> None:
        """From now on, let a signal raise an exception."""
        from lstm_shared.errors import Terminated

        self._errors = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
        self._working = True

    def work_ends(self) -> None:
        """From now on, let a signal end the process at once."""
        self._working = False

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is not threading.main_thread():
            return self  # handlers can be set in the main thread only
        for number in EXIT_CODES:
            # A process started in the background may have been told to ignore SIGINT: respect that.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)  # the interpreter requires it
        self._wakeup = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        self._watcher = threading.Thread(target=self._watch, name="stop signals", daemon=True)
        self._watcher.start()
        self._unraisable, sys.unraisablehook = sys.unraisablehook, self._raise_again
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._watcher is None:
            return
        sys.unraisablehook = self._unraisable
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        os.close(self._pipe[1])  # the watcher reads the end of the pipe, and stops
        self._watcher.join()
        os.close(self._pipe[0])

    def _handle(self, number: int, frame: FrameType | None) -> None:
        received = signal.Signals(number)
        self.received = self.received or received
        if not self._working:
            os._exit(self.exit_code)
        if _is_importing(frame):
            self._deferred.set()
            return
        self._handled.set()
        raise self._errors[received]

    def _raise_again(self, lost: "sys.UnraisableHookArgs") -> None:
        if self.received is None or not issubclass(lost.exc_type, tuple(self._errors.values())):
            self._unraisable(lost)
            return
        again = threading.Timer(0.02, _thread.interrupt_main, (self.received,))
        again.daemon = True
        again.start()

    def _watch(self) -> None:
        """Make sure that a signal takes effect: repeat it after an import, and end the process if nothing else does."""
        end = self._pipe[0]
        while numbers := os.read(end, 64):
            number = next((signal.Signals(number) for number in numbers if number in EXIT_CODES), None)
            if number is None:
                continue
            came, sent = time.monotonic(), 0
            until = came + _GRACE_SECONDS
            while not self._handled.wait(0.05):
                if self._deferred.is_set():
                    self._deferred.clear()
                    sent += 1
                    until = min(until, came + _IMPORT_GRACE_SECONDS)
                    _thread.interrupt_main(number)
                if select.select([end], [], [], 0)[0]:
                    more = os.read(end, 64)
                    if not more:
                        return
                    if len(more) > sent:  # a second signal, not one of ours
                        until = min(until, time.monotonic() + _SECOND_GRACE_SECONDS)
                    sent = 0
                if time.monotonic() > until:
                    os._exit(EXIT_CODES[number])
            self._handled.clear()
            while select.select([end], [], [], 0)[0]:  # signals that were handled together with the first
                if not os.read(end, 64):
                    return


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
