"""SIGINT and SIGTERM: a command ends with the exit code that shells expect, wherever it is when the signal comes."""

import _thread
import os
import select
import signal
import sys
import threading
import time
from types import FrameType, TracebackType

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}

# Python sees a signal only between two of its own instructions. A call into a framework, to compile or to run a whole
# training, may take longer; it may then be the last piece of a run that is to be saved, so it is not cut off at once.
_GRACE_SECONDS = 5.0
_SECOND_GRACE_SECONDS = 0.5
# What is imported can be imported again, and a run that has begun has most of it.
_IMPORT_GRACE_SECONDS = 1.0


class StopSignals:
    """While the block runs, SIGINT raises KeyboardInterrupt and SIGTERM ``lstm_shared.errors.Terminated``.

    Before ``work_begins`` and after ``work_ends`` there is nothing to save, and a signal ends the process at once. In
    between, the exception waits for the end of an import: raised in one, the C++ parts of the frameworks abort, and an
    ``except`` may take it for a package that is missing. Where Python cannot let an exception through, in a finalizer,
    it is raised again. If the main thread is so deep in a framework that it raises nothing, the process ends after some
    seconds, or with the second signal.

    Attributes:
        received: the first signal that came, None before.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._working = False
        self._handled = threading.Event()  # the main thread has raised what a signal asks for
        self._deferred = threading.Event()  # or not yet, because it imports something
        self._before: dict[signal.Signals, object] = {}
        self._watcher: threading.Thread | None = None

    @property
    def exit_code(self) -> int:
        """Of the signal that came, 0 if none did."""
        return 0 if self.received is None else EXIT_CODES[self.received]

    def work_begins(self) -> None:
        """From here on a signal raises an exception."""
        from lstm_shared.errors import Terminated

        self._errors = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
        self._working = True

    def work_ends(self) -> None:
        """From here on a signal ends the process at once."""
        self._working = False

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is not threading.main_thread():
            return self  # handlers can be set in the main thread only
        for number in EXIT_CODES:
            # What starts a process in the background may have it ignore SIGINT: that stays.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)  # as the interpreter wants it
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
        os.close(self._pipe[1])  # the watching thread reads that there is no more to come, and ends
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
        """See to it that a signal has an effect: send it again after an import, and end the process in the end."""
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
                    if len(more) > sent:  # a second one of somebody's
                        until = min(until, time.monotonic() + _SECOND_GRACE_SECONDS)
                    sent = 0
                if time.monotonic() > until:
                    os._exit(EXIT_CODES[number])
            self._handled.clear()
            while select.select([end], [], [], 0)[0]:  # those that were handled as one with the first
                if not os.read(end, 64):
                    return


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
