"""``lstm-parity inspect`` and ``convert``: show and convert weight files."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lstm_parity.cli.options import JsonFile, refuse_options
from lstm_parity.cli.outputs import require_outputs, save_each, write_json
from lstm_parity.cli.screen import say, show

# Number of other arrays that the screen names; --json has all.
_NAMED_ARRAYS = 5


def inspect(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A .safetensors or .npz file, a PyTorch or Lightning checkpoint, or a TorchScript archive.",
        ),
    ],
    json_file: JsonFile = None,
) -> None:
    """Show what is in a weight file: each model with its kind, sizes and dtypes, and anything that is wrong."""
    require_outputs({"--json": json_file}, inputs={"FILE": file})
    from rich.table import Table

    from lstm_shared.describe import describe
    from lstm_shared.errors import OtherCellError, WeightsError
    from lstm_shared.possible_models import possible_models
    from lstm_shared.printable import printable
    from lstm_shared.weight_files.contents import at, plain_arrays
    from lstm_shared.weight_files.formats import read_contents

    values = read_contents(file).named
    candidates = possible_models(values)
    models, other_cells, problems = [], [], []
    table = Table("prefix", "model", "dtype", "arrays", "numbers", box=None, pad_edge=False, header_style="bold")
    for column in (table.columns[0], *table.columns[3:]):
        column.no_wrap = True
    for prefix, names in candidates.items():
        try:
            model = plain_arrays({name: values[prefix + name] for name in names})
            spec = describe(model)
        except OtherCellError as error:
            other_cells += [f"{prefix}{': ' * bool(prefix)}{problem}" for problem in error.problems]
            continue
        except WeightsError as error:
            problems += [at(file, prefix, problem) for problem in error.problems]
            continue
        dtypes = sorted({array.dtype.name for array in model.values()})
        numbers = sum(array.size for array in model.values())
        sizes = {name: value for name, value in vars(spec).items() if name != "lstm"} | vars(
            getattr(spec, "lstm", spec)
        )
        models.append({"prefix": prefix, "kind": spec.kind, **sizes, "dtypes": dtypes, "numbers": numbers})
        words = ", ".join(f"{name} {value}" for name, value in sizes.items())
        kind = f"{spec.kind}: {words}" if words else spec.kind
        table.add_row(printable(prefix) or "(top)", kind, " ".join(dtypes), str(len(model)), str(numbers))
    problems += [f"{file}: {problem}" for problem in _not_finite(values)]
    if not models and not problems:
        held = ", ".join(sorted(values)[:5]) or "nothing"
        problems += [f"{file}: {cell}" for cell in other_cells] or [f"{file}: no LSTM in it; it holds {held}"]
    others = _other_arrays(values, {prefix + name for prefix, names in candidates.items() for name in names})
    record = {
        "file": str(file),
        "models": models,
        "other_cells": other_cells,
        "other_arrays": others,
        "problems": problems,
    }
    unsaved = save_each([(json_file, write_json(record))])
    if models:
        show(table)
        say(*other_cells)
    if others:
        say(f"{'and ' if models else ''}{len(others)} {'other ' if candidates else ''}{_named(others)}")
    WeightsError.raise_any(problems + unsaved)


def _other_arrays(values: Mapping[str, Any], in_models: Collection[str]) -> list[dict[str, Any]]:
    """Return name, shape and dtype of each array outside the models. Converts none, as they may be large."""
    return [
        {"name": name, "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        if hasattr(value, "shape")
        else {"name": name, "shape": None, "dtype": None}  # unreadable
        for name, value in values.items()
        if name not in in_models
    ]


def _named(arrays: list[dict[str, Any]]) -> str:
    """Return "array: …" or "arrays: …" with the names and shapes of the first few."""
    named = [
        f"{array['name']} {'(unreadable)' if array['shape'] is None else tuple(array['shape'])}"
        for array in arrays[:_NAMED_ARRAYS]
    ]
    if left := len(arrays) - len(named):
        named.append(f"and {left} more")
    return f"array{'s' if len(arrays) > 1 else ''}: {', '.join(named)}"


def _not_finite(values: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each array with NaN or infinity in it, one at a time, as checkpoints are large."""
    from lstm_shared.errors import WeightsError
    from lstm_shared.finite import not_finite
    from lstm_shared.weight_files.contents import plain_arrays

    for name, value in values.items():
        try:
            yield from not_finite(plain_arrays({name: value}))
        except WeightsError:  # not an array: if a model needs it, the model's own line says so
            continue


def convert(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="IN", help="A file that inspect can read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The .safetensors or .npz file to write.")],
    prefix: Annotated[
        str, typer.Option(help="Take only the arrays under this prefix, and strip it from their names.")
    ] = "",
    from_layout: Annotated[
        str | None, typer.Option("--from", metavar="LAYOUT", help="Layout of IN, when it is another framework's.")
    ] = None,
    to_layout: Annotated[
        str | None, typer.Option("--to", metavar="LAYOUT", help="Layout to write, when OUT is for another framework.")
    ] = None,
    layer: Annotated[int, typer.Option(help="Layer to convert, with --from or --to.")] = 0,
    reverse: Annotated[bool, typer.Option("--reverse", help="Convert its reverse direction.")] = False,
) -> None:
    """Write the weights of one file to a file of a different kind, or in another framework's layout.

    Without --from and --to, names, shapes and dtypes stay as they are.

    Layouts: flax-linen, flax-nnx, flax-nnx-optimized, haiku, equinox, keras, onnx, linear-gates. These frameworks have
    cells, so convert takes one layer and direction at a time. It joins nested names with "/".

    A layout with one bias comes back as bias_ih, with bias_hh zero. The outputs are equal, but training then differs.
    """
    from lstm_shared import layouts
    from lstm_shared.names import parse_weight_name
    from lstm_shared.trees import flatten_tree, unflatten_tree
    from lstm_shared.weight_files.load_save import load, save

    if from_layout is None and to_layout is None:
        refuse_options(context, "needs --from or --to", "layer", "reverse")
    require_outputs({"OUT": target}, inputs={"IN": source})
    arrays = load(source, prefix)
    if from_layout is not None:
        tree = unflatten_tree(arrays)
        arrays = layouts.from_layout(tree, from_layout, layer=layer, reverse=reverse)
    which = ""
    if to_layout is not None:
        cells = len({parsed.place for name in arrays if (parsed := parse_weight_name(name))})
        arrays = flatten_tree(layouts.to_layout(arrays, to_layout, layer=layer, reverse=reverse))
        if cells > 1:
            direction = "reverse" if reverse else "forward"
            which = f", layer {layer}, {direction} direction: 1 of the {cells} cells in {source}"
    save(target, arrays)
    say(f"{target}: {len(arrays)} arrays{which}")
