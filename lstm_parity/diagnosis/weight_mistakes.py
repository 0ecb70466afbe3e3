"""Mistakes in reading weights: each one changes the weights of one layer and direction."""

from collections.abc import Callable, Iterator
from itertools import permutations

import numpy as np

from lstm_shared.names import BY_HAND_GATES, GATE_LETTERS, GATES, PARTS
from lstm_shared.specs import LSTMSpec

Parts = dict[str, np.ndarray]
Change = Callable[[Parts], Parts | None]

_BY_HAND = tuple(BY_HAND_GATES)  # the by-hand names of the gates i, f, g, o
_MATRICES, _BIASES = PARTS[:2], PARTS[2:4]
# Parts that may have a wrong gate order alone: the detail for the identifier, the parts, words, and words by hand.
_SHUFFLED_ALONE = (
    ("weight_ih", PARTS[:1], "in weight_ih only", "in the weights of the input only (w…2)"),
    ("weight_hh", PARTS[1:2], "in weight_hh only", "in the weights of the short-term memory only (w…1)"),
    ("biases", PARTS[2:4], "in the biases only", "in the biases only (b…1)"),
)


def weight_mistakes(spec: LSTMSpec, by_hand: bool) -> Iterator[tuple[str, str, str, tuple[str, ...], Change]]:
    """Yield (identifier, words, repair, touches, change) of each mistake.

    The change takes the parts of one place and returns those that it changes, or None if it does not fit them.
    """
    hidden_size = spec.hidden_size
    for order in list(permutations(range(4)))[1:]:
        letters = ",".join(GATE_LETTERS[gate] for gate in order)
        yield (
            f"gate-order:{letters}",
            f"the port reads the gates in the order {letters}",
            "read the four blocks of rows of every weight and bias in torch's order i,f,g,o",
            PARTS[:4],
            _regated([order.index(gate) for gate in range(4)]),
        )
    for part in (*_MATRICES, "weight_hr"):
        yield (
            f"transposed:{part}",
            f"every gate's block of {part} is transposed",
            f"transpose {part} exactly once: either compute x @ W.T, or transpose it when converting",
            (part,),
            _transposed(part, hidden_size),
        )
        yield (
            f"reshaped:{part}",
            f"{part} is reshaped to (columns, rows) where it should be transposed",
            f"transpose {part} (W.T); do not reshape it",
            (part,),
            lambda parts, part=part: {part: parts[part].reshape(parts[part].shape[::-1]).T} if part in parts else None,
        )
    yield (
        "swapped-weights",
        "the weights for the inputs and for the hidden state are swapped",
        "multiply the inputs by weight_ih and the hidden state by weight_hh",
        _MATRICES,
        lambda parts: (
            {"weight_ih": parts["weight_hh"], "weight_hh": parts["weight_ih"]}
            if parts["weight_ih"].shape == parts["weight_hh"].shape
            else None
        ),
    )
    for name in ("all",) if by_hand else _BIASES:
        held = _BIASES if by_hand else (name,)
        which = "every bias" if by_hand else name
        repair = "add every bias once" if by_hand else "add both biases, bias_ih and bias_hh, once each"
        yield f"missing-bias:{name}", f"{which} is left out", repair, held, _scaled(held, 0.0)
        yield f"doubled-bias:{name}", f"{which} is added twice", repair, held, _scaled(held, 2.0)
    for target, gate in enumerate(GATES):
        for source, other in enumerate(GATES):
            if source == target:
                continue
            for held in (_BIASES,) if by_hand else (_BIASES, _BIASES[:1], _BIASES[1:]):
                one = f":{held[0]}" if len(held) == 1 else ""
                yield (
                    f"bias-of:{other}-in:{gate}{one}",
                    f"the {gate} gate adds the {other} gate's {one[1:] or 'bias'}",
                    f"add the {gate} gate's own {one[1:] or 'bias'}",
                    held,
                    _borrowed(held, source, target),
                )
    for sign, words, repair in (
        (1.0, "the forget gate's bias is too large by 1", "do not add 1: torch's bias is already complete"),
        (-1.0, "the forget gate's bias is too small by 1", "add back the 1 that was subtracted in the conversion"),
    ):
        yield f"forget-bias{sign:+.0f}", words, repair, ("bias_ih",), _offset(sign)
    if by_hand:
        for block, gate in enumerate(_BY_HAND):
            for factor, word, how in ((0.0, "missing", "left out"), (2.0, "doubled", "added twice")):
                of_gate = _scaled(_BIASES, factor, block)
                yield f"{word}-bias:b{gate}1", f"b{gate}1 is {how}", f"add b{gate}1 once", _BIASES, of_gate
            yield (
                f"swapped-weights:w{gate}1,w{gate}2",
                f"w{gate}1 and w{gate}2 are swapped",
                f"multiply the short-term memory by w{gate}1 and the input by w{gate}2",
                _MATRICES,
                _exchanged(block),
            )


def gate_orders_of_one_part(by_hand: bool) -> Iterator[tuple[str, str, str, tuple[str, ...], Change]]:
    """Yield, as ``weight_mistakes`` does, the mistakes in which one matrix, or the biases, has its own gate order."""
    for order in list(permutations(range(4)))[1:]:
        letters = ",".join(GATE_LETTERS[gate] for gate in order)
        for detail, held, where, where_by_hand in _SHUFFLED_ALONE:
            yield (
                f"gate-order:{letters}:{detail}",
                f"the port reads the gates in the order {letters} {where_by_hand if by_hand else where}",
                "read the four gates in the same order, torch's i,f,g,o, in every weight and bias",
                held,
                _regated([order.index(gate) for gate in range(4)], held),
            )


def _blocks(array: np.ndarray) -> np.ndarray:
    return array.reshape(4, -1, *array.shape[1:])


def _regated(order: list[int], held: tuple[str, ...] = PARTS[:4]) -> Callable[[Parts], Parts]:
    return lambda parts: {name: _blocks(parts[name])[order].reshape(parts[name].shape) for name in held}


def _transposed(part: str, hidden_size: int) -> Callable[[Parts], Parts | None]:
    def change(parts: Parts) -> Parts | None:
        array = parts.get(part)
        if array is None or array.shape != (4 * hidden_size, hidden_size) or hidden_size == 1:
            return None
        return {part: _blocks(array).swapaxes(1, 2).reshape(array.shape)}

    return change


def _scaled(held: tuple[str, ...], factor: float, block: int | None = None) -> Callable[[Parts], Parts]:
    def change(parts: Parts) -> Parts:
        factors = np.full((4, 1), factor) if block is None else np.where(np.arange(4)[:, None] == block, factor, 1.0)
        return {name: (_blocks(parts[name]) * factors).reshape(-1) for name in held}

    return change


def _borrowed(held: tuple[str, ...], source: int, target: int) -> Callable[[Parts], Parts]:
    order = [source if block == target else block for block in range(4)]
    return lambda parts: {name: _blocks(parts[name])[order].reshape(-1) for name in held}


def _offset(amount: float) -> Callable[[Parts], Parts]:
    return lambda p: {"bias_ih": (_blocks(p["bias_ih"]) + amount * (np.arange(4) == 1)[:, None]).reshape(-1)}


def _exchanged(block: int) -> Callable[[Parts], Parts]:
    def change(parts: Parts) -> Parts:
        here = np.arange(4)[:, None] == block  # the hidden size is 1, so a row is a gate
        ih, hh = parts["weight_ih"], parts["weight_hh"]
        return {"weight_ih": np.where(here, hh, ih), "weight_hh": np.where(here, ih, hh)}

    return change
