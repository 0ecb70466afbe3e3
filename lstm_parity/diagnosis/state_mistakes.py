"""Mistakes with states: initial states, states carried from step to step, and the equations that compute them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from lstm_parity.diagnosis.mistake import Mistake, place_in_words
from lstm_parity.diagnosis.simulation import SimulatedPort


def state_mistakes(port: SimulatedPort, by_hand: bool) -> Iterator[Mistake]:
    """Yield every such mistake that this (right) port allows; those in the equations also in each place alone."""
    h, c = ("short-term memory", "long-term memory") if by_hand else ("hidden state h", "cell state c")
    yield from _of_the_initial_state(h, c, by_hand)
    yield from _of_the_order(port)
    yield from _of_the_equations(port, h, c)
    yield Mistake(
        "returns-c",
        f"the outputs are the {c}, not the {h}",
        f"return the {h}: the output gate times tanh of the {c}",
        lambda p: replace(p, returned="c") if not p.spec.proj_size else None,
        frozenset({"returned"}),
    )


def _of_the_initial_state(h: str, c: str, by_hand: bool) -> Iterator[Mistake]:
    pair, state = ("(long, short)" if by_hand else "(h, c)"), frozenset({"state"})
    yield Mistake(
        "swapped-state",
        f"the initial {h} and the initial {c} are swapped",
        f"pass the initial state in the order {pair}",
        lambda p: replace(p, h_0=p.c_0, c_0=p.h_0) if p.h_0.shape == p.c_0.shape else None,
        state,
    )
    yield Mistake(
        "missing-state",
        "the port ignores the initial state and starts from zeros",
        f"pass the initial state {pair} to the first step",
        lambda p: replace(p, h_0=np.zeros_like(p.h_0), c_0=np.zeros_like(p.c_0)),
        state,
    )
    for name, words, other in (("h", h, c), ("c", c, h)):
        yield Mistake(
            f"missing-state:{name}",
            f"the port ignores the initial {words} and uses only the initial {other}",
            f"pass the initial {words} to the first step too",
            lambda p, name=name: replace(p, **{f"{name}_0": np.zeros_like(getattr(p, f"{name}_0"))}),
            state,
        )


def _of_the_order(port: SimulatedPort) -> Iterator[Mistake]:
    """Yield the mistakes that give rows of the initial states to the wrong layers, directions or sequences."""
    layers, directions = port.spec.num_layers, len(port.spec.directions)
    rows = np.arange(layers * directions).reshape(layers, directions)
    orders = []
    if layers > 1:
        orders = [
            ("layers-reversed", rows[::-1], "the layers take their initial states in reverse order"),
            ("first-layer", np.broadcast_to(rows[:1], rows.shape), "every layer starts from layer 0's initial state"),
        ]
    if directions > 1:
        words = "each direction starts from the other direction's initial state"
        orders.append(("directions-exchanged", rows[:, ::-1], words))
    if layers > 1 and directions > 1:
        words = "the port orders the rows of h_0 and c_0 by direction first, then by layer"
        orders.append(("directions-first", rows.reshape(directions, layers).T, words))
    for name, order, words in orders:
        yield Mistake(
            f"state-order:{name}",
            words,
            "start each layer and direction from row (layer · number of directions + direction) of h_0 and c_0, where "
            "direction is 0 for forward and 1 for reverse",
            _with_rows(order.reshape(-1)),
            frozenset({"state"}),
        )
    yield Mistake(
        "state-order:batch-first",
        "the initial state is reshaped from (layers, batch, size) to (batch, layers, size) instead of transposed",
        "swap the first two axes of h_0 and c_0; do not reshape them",
        _reshaped,
        frozenset({"state"}),
    )


def _with_rows(order: np.ndarray) -> Callable[[SimulatedPort], SimulatedPort]:
    return lambda p: replace(p, h_0=p.h_0[order], c_0=p.c_0[order])


def _reshaped(port: SimulatedPort) -> SimulatedPort:
    rows, batch, _ = port.h_0.shape
    h_0, c_0 = (part.reshape(batch, rows, part.shape[-1]).swapaxes(0, 1) for part in (port.h_0, port.c_0))
    return replace(port, h_0=h_0, c_0=c_0)


def _of_the_equations(port: SimulatedPort, h: str, c: str) -> Iterator[Mistake]:
    carry = "start every step from the states of the previous step"
    kinds = [
        (
            "missing-gate:input",
            "there is no input gate: the whole candidate is added",
            "multiply the candidate by the input gate",
        ),
        (
            "missing-gate:forget",
            f"there is no forget gate: the {c} is never scaled down",
            f"multiply the {c} by the forget gate",
        ),
        (
            "missing-gate:output",
            f"there is no output gate: the {h} is tanh of the {c}",
            f"multiply tanh of the {c} by the output gate",
        ),
        ("coupled-gates", "the input gate is 1 minus the forget gate", "compute the input gate from its own weights"),
        ("missing-tanh:candidate", "the candidate is used as it is, without tanh", "apply tanh to the candidate"),
        (
            "missing-tanh:cell",
            f"the output gate multiplies the {c} as it is, without tanh",
            f"multiply tanh of the {c} by the output gate",
        ),
        ("state-not-carried", "every step starts from the initial states: neither is carried over", carry),
        ("state-not-carried:h", f"every step starts from the initial {h}; only the {c} is carried over", carry),
        ("state-not-carried:c", f"every step starts from the initial {c}; only the {h} is carried over", carry),
    ]
    for name, words, repair in kinds:
        yield from _everywhere_and_in_each_place(port, name, words, repair, _with_equations(name), {"equations"})
    yield from _everywhere_and_in_each_place(
        port,
        "missing-recurrence",
        f"the gates ignore the {h}: every gate is computed from the inputs alone",
        f"add the product of weight_hh and the {h} to every gate",
        _without_recurrence,
        {"weight_hh"},
    )


def _everywhere_and_in_each_place(
    port: SimulatedPort,
    name: str,
    words: str,
    repair: str,
    apply: Callable[[SimulatedPort, Sequence[str]], SimulatedPort],
    touches: set[str],
) -> Iterator[Mistake]:
    places = port.places
    yield Mistake(name, words, repair, lambda p: apply(p, places), frozenset(touches))
    for place in places if len(places) > 1 else ():
        where = f"{words} ({place_in_words(place)} only)"
        one = (place,)
        yield Mistake(f"{name}@{place}", where, repair, lambda p, one=one: apply(p, one), frozenset(touches), place)


def _with_equations(name: str) -> Callable[[SimulatedPort, Sequence[str]], SimulatedPort]:
    def apply(port: SimulatedPort, places: Sequence[str]) -> SimulatedPort:
        named = zip(port.places, port.equations, strict=True)
        return replace(port, equations=tuple(name if place in places else now for place, now in named))

    return apply


def _without_recurrence(port: SimulatedPort, places: Sequence[str]) -> SimulatedPort:
    names = [f"weight_hh_{place}" for place in places]
    return port.with_weights({name: np.zeros_like(port.weights[name]) for name in names})
