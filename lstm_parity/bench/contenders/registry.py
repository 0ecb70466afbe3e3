"""The list of contenders: what each one is, which package it needs, and what it cannot run. Imports nothing heavy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from lstm_parity.bench.cases import TRAINING, BenchCase

# Every contender's numbers and times are compared with REFERENCE. OURS is what this project offers.
REFERENCE, OURS = "torch", "jax"

# (case, mode) -> why the contender cannot run it; "" if it can.
Refusal = Callable[[BenchCase, str], str]

_HERE = __name__.rpartition(".")[0]


@dataclass(frozen=True)
class Contender:
    """One way to run an LSTM. Each contender gets its own process.

    Attributes:
        name: its name on the command line.
        title: a description for readers; "" if it only trains the LSTM by hand.
        framework: "torch" or "jax", whose device it computes on.
        programs: "module:function". The contender's process calls ``function(case, mode, dtype)``, which returns a
            ``program.Program``.
        refuses: (case, mode) -> why it cannot run that; "" if it can.
        package: the package it imports besides its framework; "" for none.
        family: "torch", "ours" or "peer". Ours is compared with the fastest contender outside "ours".
        compiles: whether its first call compiles, which later calls have to pay off.
        by_hand: a description for readers of how it trains the LSTM by hand; "" if it does not.
        synchronous: whether JAX runs a call in the calling thread. By default, on a CPU, it uses another thread.
    """

    name: str
    title: str
    framework: str
    programs: str
    refuses: Refusal
    package: str = ""
    family: str = "peer"
    compiles: bool = True
    by_hand: str = ""
    synchronous: bool = False

    @property
    def installed(self) -> bool:
        return not self.package or find_spec(self.package) is not None


def _anything(case: BenchCase, mode: str) -> str:
    return ""


def _scan(case: BenchCase, mode: str) -> str:
    return "whole training is timed with the default implementation" if mode == TRAINING else ""


def _synchronous(case: BenchCase, mode: str) -> str:
    return "whole training is one call: which thread runs it makes no difference" if mode == TRAINING else ""


def _one_cell(case: BenchCase, mode: str) -> str:
    if case.kind != "sequence" or mode == TRAINING:
        return "a loop over one cell: sequences only, and no whole training"
    return "" if _plain(case) else "a loop over one cell: one layer, one direction, no projection, no lengths"


def _compiled(case: BenchCase, mode: str) -> str:
    if case.time > 32:
        return "torch.compile unrolls the loop: beyond 32 steps it compiles for minutes"
    return _one_cell(case, mode)


def _eager(case: BenchCase, mode: str) -> str:
    if case.kind != "sequence":
        return ""
    return "without jit it takes seconds beyond 64 steps" if case.time > 64 else _one_cell(case, mode)


def _peer(case: BenchCase, mode: str) -> str:
    if case.kind != "sequence" or mode == TRAINING:
        return "sequences only, and no whole training"
    return "no projections" if case.proj_size else ""


def _keras(case: BenchCase, mode: str) -> str:
    # Measured with keras 3.15: outputs are off by 1e-7, even with set_floatx("float64").
    return "keras computes float64 to float32's accuracy" if case.dtype == "float64" else _peer(case, mode)


def _by_hand(case: BenchCase, mode: str) -> str:
    return "" if case.kind == "by hand" else "it trains the LSTM by hand and nothing else"


def _plain(case: BenchCase) -> bool:
    return not (case.num_layers > 1 or case.bidirectional or case.proj_size or case.ragged)


def _torch(
    name: str, programs: str, refuses: Refusal, title: str, by_hand: str = "", compiles: bool = True
) -> Contender:
    return Contender(name, title, "torch", f"{_HERE}.{programs}", refuses, "", "torch", compiles, by_hand)


def _ours(
    name: str,
    programs: str,
    refuses: Refusal,
    title: str,
    by_hand: str = "",
    *,
    compiles: bool = True,
    sync: bool = False,
) -> Contender:
    return Contender(name, title, "jax", f"{_HERE}.{programs}", refuses, "", "ours", compiles, by_hand, sync)


def _other(name: str, package: str, programs: str, refuses: Refusal, title: str) -> Contender:
    return Contender(name, title, "jax", f"{_HERE}.peers:{programs}", refuses, package)


CONTENDERS: Mapping[str, Contender] = {
    contender.name: contender
    for contender in (
        _torch("torch", "reference:eager", _anything, "torch.nn.LSTM", "a loop in PyTorch", compiles=False),
        _torch("torch-cell", "reference:cell_loop", _one_cell, "a loop over torch.nn.LSTMCell", compiles=False),
        _torch("torch-compile", "reference:compiled", _compiled, "torch.compile of torch.nn.LSTM"),
        _torch("lightning", "by_hand:lightning", _by_hand, "", "torch_lstm.fit, Lightning", compiles=False),
        _ours("jax", "ours:ours", _anything, "jax_lstm.lstm, jitted", "jax_lstm.fit, one compiled loop"),
        _ours("jax-scan", "ours:ours_scan", _scan, 'jax_lstm.lstm, implementation="scan", jitted'),
        _ours("jax-sync", "ours:ours", _synchronous, "as jax, with synchronous dispatch", sync=True),
        _ours("jax-eager", "ours:ours_eager", _eager, "jax_lstm.lstm, no jit", "no jit", compiles=False),
        _ours("jax-step", "by_hand:jax_step", _by_hand, "", "a loop over one jitted step"),
        _other("flax", "flax", "linen", _peer, "flax.linen.RNN of OptimizedLSTMCell"),
        _other("flax-nnx", "flax", "nnx", _peer, "flax.nnx.RNN of OptimizedLSTMCell"),
        _other("haiku", "haiku", "haiku", _peer, "haiku.dynamic_unroll of haiku.LSTM"),
        _other("equinox", "equinox", "equinox", _peer, "lax.scan of equinox.nn.LSTMCell"),
        _other("keras", "keras", "keras", _keras, "keras.layers.LSTM on JAX"),
    )
}
PEERS = tuple(name for name, contender in CONTENDERS.items() if contender.family == "peer")
