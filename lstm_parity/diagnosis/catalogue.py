"""The catalogue of mistakes that LSTM ports make: a stable identifier, words, the repair, and the effect of each."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import permutations

import numpy as np

from lstm_parity.diagnosis.mistake import Mistake, place_in_words
from lstm_parity.diagnosis.simulation import SimulatedPort
from lstm_parity.diagnosis.state_mistakes import state_mistakes
from lstm_parity.diagnosis.weight_mistakes import Change, Parts, gate_orders_of_one_part, weight_mistakes
from lstm_shared.names import PARTS, weight_name

_MOST_LAYERS_PERMUTED = 4


def catalogue(port: SimulatedPort, *, by_hand: bool = False) -> list[Mistake]:
    """List every single mistake that can be made in this (right) port: everywhere, and in each place alone."""
    mistakes = []
    places = port.places
    for identifier, words, repair, touches, change in weight_mistakes(port.spec, by_hand):
        mistakes.append(Mistake(identifier, words, repair, _in_places(change, places), frozenset(touches)))
        for place in places if len(places) > 1 else ():
            where = f"{words} ({place_in_words(place)} only)"
            apply = _in_places(change, (place,))
            mistakes.append(Mistake(f"{identifier}@{place}", where, repair, apply, frozenset(touches), place))
    mistakes += [*_program_mistakes(port), *state_mistakes(port, by_hand)]
    # These come last: a mistake in one part must not hide one in all parts that gives the same outputs.
    for identifier, words, repair, touches, change in gate_orders_of_one_part(by_hand):
        for where in ("", *places) if len(places) > 1 else ("",):
            more = (f"@{where}", f" ({place_in_words(where)})") if where else ("", "")
            apply = _in_places(change, (where,) if where else places)
            name, said = identifier + more[0], words + more[1]
            mistakes.append(Mistake(name, said, repair, apply, frozenset(touches), where, in_pairs=False))
    return mistakes


def _program_mistakes(port: SimulatedPort) -> Iterator[Mistake]:
    """Yield the mistakes that have nothing to do with how weights are read."""
    places = port.places
    definitions = {"hard-sigmoid": "clip(x / 6 + 1/2, 0, 1)", "hard-sigmoid:0.2": "clip(0.2 x + 1/2, 0, 1)"}
    for name, formula in definitions.items():
        words, repair = f"the gates use the hard sigmoid {formula}", "use the sigmoid 1 / (1 + exp(-x))"
        cell = frozenset({"sigmoids"})
        yield Mistake(name, words, repair, _with_sigmoid(name, range(len(places))), cell)
        for row, place in enumerate(places if len(places) > 1 else ()):
            where = f"{words} ({place_in_words(place)} only)"
            yield Mistake(f"{name}@{place}", where, repair, _with_sigmoid(name, [row]), cell, place)

    def make(
        identifier: str, words: str, repair: str, touches: str, apply: Callable[[SimulatedPort], SimulatedPort | None]
    ) -> Mistake:
        return Mistake(identifier, words, repair, apply, frozenset(touches.split()))

    reading = "read the steps from the first to the last"
    yield make("reversed-time", "the port reads the steps from the last to the first", reading, "inputs", _backwards)
    yield make(
        "reversed-time:aligned",
        "the port reads the steps from the last to the first, then reverses its outputs in time",
        "read the steps from the first to the last, and do not reverse the outputs",
        "inputs views",
        lambda p: replace(_backwards(p), views=(*p.views, "reverse")),
    )
    yield make(
        "reversed-time:outputs",
        "the port returns its outputs in reverse, the last step first",
        "return the outputs from the first step to the last",
        "views",
        lambda p: replace(p, views=(*p.views, "reverse")),
    )
    yield make(
        "swapped-axes:batch-time",
        "the port takes the batch axis of the inputs for the time axis",
        "pass the axes of the inputs in the order that the port expects: set batch_first, or swap the first two axes",
        "inputs views",
        _axes_exchanged,
    )
    yield make(
        "swapped-axes:outputs",
        "the batch and time axes of the outputs are swapped",
        "swap the first two axes of the outputs",
        "views",
        lambda p: replace(p, views=(*p.views, "swap")),
    )
    layers = range(port.spec.num_layers)
    for order in permutations(layers) if len(layers) <= _MOST_LAYERS_PERMUTED else [tuple(reversed(layers))]:
        if order != tuple(layers) and (moved := _layers_moved(port, order)):
            listed = ",".join(map(str, order))
            words = f"the port runs the layers in the order {listed}"
            yield make(
                f"layer-order:{listed}", words, "run layer 0 first, then layer 1, and so on", " ".join(PARTS), moved
            )
    if port.spec.bidirectional:
        yield from _direction_mistakes(port)
    if port.valid is not None and not port.valid.all():
        words = "the outputs in the padding are not zeroed"
        yield _changing("padding-not-masked", words, "set the outputs past each length to zero", "mask", masked=False)


def _direction_mistakes(port: SimulatedPort) -> Iterator[Mistake]:
    layers = range(port.spec.num_layers)
    scopes = [("", frozenset(layers))]
    scopes += [(f"@l{layer}", frozenset({layer})) for layer in layers] if len(layers) > 1 else []
    for suffix, held in scopes:
        where = f" (layer {suffix[2:]} only)" if suffix else ""
        words = f"the outputs of the two directions are concatenated with the reverse direction first{where}"
        repair = "concatenate with the forward direction first, then the reverse direction"
        yield Mistake(f"swapped-directions{suffix}", words, repair, _joined_wrongly(held), frozenset({"join"}))
        words = f"the reverse direction's outputs are left in the order they are computed in, last step first{where}"
        repair = "flip the reverse direction's outputs along the time axis before concatenating"
        yield Mistake(f"reverse-not-turned{suffix}", words, repair, _unturned(held), frozenset({"turn"}))
        yield Mistake(
            f"swapped-directions:weights{suffix}",
            f"each direction runs with the other direction's weights{where}",
            "use the weights that end in _reverse from the last step to the first, the others from first to last",
            _directions_exchanged(held),
            frozenset(PARTS),
        )
    for merge, done in (("sum", "summed"), ("mean", "averaged")):
        words = f"the outputs of the two directions are {done}"
        yield _changing(f"{done}-directions", words, "concatenate the two directions instead", "join", merge=merge)
    if port.valid is not None and not port.valid.all():
        words = "the reverse direction starts in the padding"
        repair = "start the reverse direction at the last step of each sequence, before its padding"
        yield _changing("reverse-from-padding", words, repair, "mask", from_padding=True)


def _changing(identifier: str, words: str, repair: str, touches: str, **changed: str | bool) -> Mistake:
    return Mistake(identifier, words, repair, lambda p: replace(p, **changed), frozenset({touches, *changed}))


def _with_sigmoid(name: str, rows: Iterable[int]) -> Callable[[SimulatedPort], SimulatedPort]:
    return lambda p: replace(p, sigmoids=tuple(name if k in rows else now for k, now in enumerate(p.sigmoids)))


def _joined_wrongly(layers: frozenset[int]) -> Callable[[SimulatedPort], SimulatedPort]:
    return lambda p: replace(p, joined_wrongly=p.joined_wrongly ^ layers)


def _unturned(layers: frozenset[int]) -> Callable[[SimulatedPort], SimulatedPort]:
    return lambda p: replace(p, unturned=p.unturned ^ layers)


def _in_places(change: Change, places: tuple[str, ...]) -> Callable[[SimulatedPort], SimulatedPort | None]:
    """Return what makes a change of one place's parts in all of these places; it gives None if it fits none of them."""
    named = {place: [(part, f"{part}_{place}") for part in PARTS] for place in places}

    def apply(port: SimulatedPort) -> SimulatedPort | None:
        changed: Parts = {}
        for place in places:
            parts = {part: port.weights[name] for part, name in named[place] if name in port.weights}
            # a place whose shapes do not allow the change stays right
            changed |= {f"{part}_{place}": array for part, array in (change(parts) or {}).items()}
        return port.with_weights(changed) if changed else None

    return apply


def _backwards(port: SimulatedPort) -> SimulatedPort:
    return replace(port, inputs=port.inputs[::-1])


def _axes_exchanged(port: SimulatedPort) -> SimulatedPort | None:
    time, batch, _ = port.inputs.shape
    if port.valid is not None or (time != batch and (port.h_0.any() or port.c_0.any())):
        return None  # such a port would have rejected the lengths or the state
    h_0, c_0 = (x if time == batch else np.zeros((len(x), time, x.shape[-1])) for x in (port.h_0, port.c_0))
    return replace(port, inputs=port.inputs.swapaxes(0, 1), h_0=h_0, c_0=c_0, views=(*port.views, "swap"))


def _layers_moved(port: SimulatedPort, order: tuple[int, ...]) -> Callable[[SimulatedPort], SimulatedPort] | None:
    """Return what runs layer ``order[k]`` as layer k; None if the shapes do not allow it."""
    moves = {
        name: weight_name(part, order[layer], suffix)
        for layer, suffix in port.spec.places
        for part in PARTS
        if (name := weight_name(part, layer, suffix)) in port.weights
    }
    if any(port.weights[name].shape != port.weights[source].shape for name, source in moves.items()):
        return None
    return lambda p: p.with_weights({name: p.weights[source] for name, source in moves.items()})


def _directions_exchanged(layers: frozenset[int]) -> Callable[[SimulatedPort], SimulatedPort]:
    def apply(port: SimulatedPort) -> SimulatedPort:
        changed = {}
        for layer in layers:
            for name in [name for name in port.weights if name.endswith(f"_l{layer}")]:
                changed |= {name: port.weights[f"{name}_reverse"], f"{name}_reverse": port.weights[name]}
        return port.with_weights(changed)

    return apply
