"""``lstm-parity inspect`` and ``convert``: weight files."""

from pathlib import Path
from typing import Annotated

import typer

from lstm_parity.cli.options import JsonFile, require_outputs, write_json


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
    source: Annotated[Path, typer.Argument(metavar="IN", help="A file that inspect can read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A .safetensors or .npz file to write.")],
    prefix: Annotated[str, typer.Option(help="Take only the names under this prefix, and strip it.")] = "",
) -> None:
    """Write the weights of one file into a file of another kind. Names, shapes and dtypes stay as they are."""
    from lstm_shared.files import load, save

    require_outputs(weights=target)
    weights = load(source, prefix)
    save(target, weights)
    typer.echo(f"{target}: {len(weights)} arrays")
