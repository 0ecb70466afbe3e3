"""``lstm-parity inspect`` and ``convert``: weight files."""

from pathlib import Path
from typing import Annotated

import typer

from lstm_parity.cli.options import JsonFile, refuse_options, require_outputs, write_json


def inspect(
    file: Annotated[Path, typer.Argument(help="A .safetensors, .npz, .pt, .pth or Lightning .ckpt file.")],
    json_file: JsonFile = None,
) -> None:
    """Say what is in a file: every model found, its kind and sizes, dtypes, and anything wrong with it."""
    require_outputs(files=[json_file])
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from lstm_shared.describe import describe, model_candidates
    from lstm_shared.errors import OtherCellError, WeightsError
    from lstm_shared.files import not_finite, read_arrays

    arrays = read_arrays(file)
    models, other_cells, problems = [], [], []
    table = Table("prefix", "model", "dtype", "arrays", "numbers", box=None, pad_edge=False, header_style="bold")
    for prefix, names in model_candidates(arrays).items():
        model = {name: arrays[prefix + name] for name in names}
        dtypes = sorted({array.dtype.name for array in model.values()})
        numbers = sum(array.size for array in model.values())
        try:
            spec = describe(model)
        except OtherCellError as error:
            other_cells += [f"{prefix}{': ' * bool(prefix)}{problem}" for problem in error.problems]
            continue
        except WeightsError as error:
            problems += [f"{file}: {prefix}{': ' * bool(prefix)}{problem}" for problem in error.problems]
            continue
        sizes = {name: value for name, value in vars(spec).items() if name != "lstm"} | vars(
            getattr(spec, "lstm", spec)
        )
        models.append({"prefix": prefix, "kind": spec.kind, **sizes, "dtypes": dtypes, "numbers": numbers})
        words = ", ".join(f"{name} {value}" for name, value in sizes.items())
        kind = f"{spec.kind}: {words}" if words else spec.kind
        table.add_row(escape(prefix) or "(top)", kind, " ".join(dtypes), str(len(model)), str(numbers))
    problems += [f"{file}: {problem}" for problem in not_finite(arrays)]
    if not models and not problems:
        held = ", ".join(sorted(arrays)[:5]) or "nothing"
        problems += [f"{file}: {cell}" for cell in other_cells] or [f"{file}: no LSTM in it; it holds {held}"]
    if models:
        Console().print(table)
        for line in other_cells:
            typer.echo(line)
    others = len(arrays) - sum(len(names) for names in model_candidates(arrays).values())
    if others:
        typer.echo(f"and {others} other arrays")
    if json_file:
        write_json(
            json_file,
            {
                "file": str(file),
                "models": models,
                "other_cells": other_cells,
                "other_arrays": others,
                "problems": problems,
            },
        )
    WeightsError.raise_any(problems)


def convert(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="IN", help="A file that inspect can read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A .safetensors or .npz file to write.")],
    prefix: Annotated[str, typer.Option(help="Take only the names under this prefix, and strip it.")] = "",
    from_layout: Annotated[
        str | None, typer.Option("--from", metavar="LAYOUT", help="IN is another framework's.")
    ] = None,
    to_layout: Annotated[
        str | None, typer.Option("--to", metavar="LAYOUT", help="OUT is for another framework.")
    ] = None,
    layer: Annotated[int, typer.Option(help="Which layer, with --from or --to.")] = 0,
    reverse: Annotated[bool, typer.Option("--reverse", help="Its reverse direction.")] = False,
) -> None:
    """Write the weights of one file into a file of another kind, or in another framework's layout.

    Without --from and --to, names, shapes and dtypes stay as they are. Layouts: flax-linen, flax-nnx,
    flax-nnx-optimized, haiku, equinox, keras, onnx, linear-gates. Those frameworks have cells, so one layer and
    direction is converted at a time; nested names are joined with "/". Where a layout has one bias it becomes bias_ih
    on the way back, with bias_hh zero: the outputs are equal, but training then differs.
    """
    from lstm_shared import layouts
    from lstm_shared.files import load, save
    from lstm_shared.trees import flatten_tree, unflatten_tree

    if from_layout is None and to_layout is None:
        refuse_options(context, "needs --from or --to", "layer", "reverse")
    require_outputs(weights=target)
    arrays = load(source, prefix)
    if from_layout is not None:
        tree = unflatten_tree(arrays)
        arrays = layouts.from_layout(tree, from_layout, layer=layer, reverse=reverse)
    if to_layout is not None:
        arrays = flatten_tree(layouts.to_layout(arrays, to_layout, layer=layer, reverse=reverse))
    save(target, arrays)
    typer.echo(f"{target}: {len(arrays)} arrays")
