"""SIGINT is exit code 130 and SIGTERM 143, whatever the command and the moment; in real processes."""

import random
import signal
import subprocess
import sys
import time

import pytest
from forked_commands import Commands

from lstm_shared import init_lstm, save

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}

# All of them take longer than the moments drawn below.
COMMANDS = {
    "train in JAX": "train --epochs 100000000",
    "train in torch": "train --backend torch --epochs 100000",
    "train in JAX with checkpoints": "train --epochs 100000000 --checkpoint-dir run-jax-{}",
    "train in torch with checkpoints": "train --backend torch --epochs 100000 --checkpoint-dir run-torch-{}",
    "check": "check m.npz --steps 1000000",
    "check by hand": "check",
    "fuzz": "fuzz --cases 100000",
    "bench": "bench --quick",
    "diagnose": "diagnose --weights m.npz --against port.py:slow",
}


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    place = tmp_path_factory.mktemp("stopped")
    save(place / "m.npz", init_lstm(3, 4))
    (place / "port.py").write_text("import time\ndef slow(params, inputs):\n    time.sleep(600)\n")
    started = Commands(place)
    yield started
    started.stop()


@pytest.mark.parametrize("number", EXIT_CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_at_any_moment_ends_a_command_with_its_own_exit_code(commands, command, number):
    draw = random.Random(f"{command} {number.name}")
    after = draw.choice([draw.uniform(0, 0.5), draw.uniform(0, 4)])
    arguments = COMMANDS[command].format(number.name).split()
    ended = commands.run(*arguments, number=number, after=after)
    assert (ended.code, ended.err) == (EXIT_CODES[number], ""), after


@pytest.mark.parametrize("trial", range(6))
def test_a_signal_while_modules_are_imported_ends_the_process_in_the_same_way(tmp_path, trial):
    """After Python itself has started, which nobody but Python can answer for."""
    draw = random.Random(trial)
    number = draw.choice(list(EXIT_CODES))
    code = "import lstm_parity.__main__ as m; print('up', flush=True); m.main()"
    command = [sys.executable, "-c", code, "train", "--epochs", "100000000"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.02 + draw.uniform(0, 3))
        process.send_signal(number)
        _, said = process.communicate()
    assert process.returncode == EXIT_CODES[number]
    assert said == ""


PLANTED = {
    "lost in a finalizer": """
class Finalized:
    def __del__(self):
        import os, signal
        os.kill(os.getpid(), signal.{name})
        for _ in range(1000): pass
def work(*_, **__):
    import time
    Finalized()
    time.sleep(60)
""",
    "deep in a framework": """
def work(*_, **__):
    import numpy
    matrix = numpy.ones((9000, 9000), numpy.float32)
    import os, signal, threading
    threading.Timer(1, os.kill, (os.getpid(), signal.{name})).start()
    for _ in range(20): matrix @ matrix @ matrix @ matrix
""",
    "swallowed": """
def work(*_, **__):
    import os, signal
    try:
        os.kill(os.getpid(), signal.{name})
        for _ in range(1000): pass
    except BaseException:
        raise ValueError("made of it by a library")
""",
}


@pytest.mark.parametrize("number", EXIT_CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("planted", PLANTED)
def test_a_signal_that_a_library_would_lose_is_not_lost(commands, planted, number):
    replaced = PLANTED[planted].format(name=number.name)
    replaced += "\nimport lstm_parity.training.backends as b\nb.trace = work\n"
    began = time.monotonic()
    ended = commands.run("trace", prepare=replaced)
    assert (ended.code, ended.err) == (EXIT_CODES[number], "")
    assert time.monotonic() - began < 50


def test_a_signal_that_is_to_be_ignored_is_ignored(commands):
    """As ``nohup`` and a shell's background jobs have it: the run goes on."""
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    ended = commands.run("train", "--epochs", 20, prepare=ignored, number=signal.SIGINT, after=0.5)
    assert (ended.code, ended.err) == (0, "")


def test_what_was_there_before_a_command_answers_signals_after_it(cli):
    before = [signal.getsignal(number) for number in EXIT_CODES]
    assert cli("trace").code == 0
    assert [signal.getsignal(number) for number in EXIT_CODES] == before
