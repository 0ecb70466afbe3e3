"""``lstm-parity train``: train on the built-in companies or on real prices."""

import enum
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_parity.cli.inputs import load_by_hand, load_model
from lstm_parity.cli.options import (
    Backend,
    BackendName,
    Dtype,
    DtypeName,
    JsonFile,
    PlotFile,
    refuse_options,
    require_finite_in,
    require_whole,
)
from lstm_parity.cli.outputs import require_outputs, save_each, write_json
from lstm_parity.cli.screen import say, show
from lstm_parity.cli.train_results import lines_of, record_of, score_table, what_failed
from lstm_shared.errors import InputError
from lstm_shared.memory import require_memory

if TYPE_CHECKING:
    from lstm_parity.annotations import NumPyWeights


_PUBLISHED_EPOCHS = 5000
_OTHER_EPOCHS = 300


class ModelName(enum.StrEnum):
    """Model to train."""

    by_hand = "by-hand"
    forecaster = "forecaster"


def train(
    context: typer.Context,
    model: Annotated[
        ModelName, typer.Option(help="The LSTM by hand, or a forecaster: an LSTM of any size with a linear head.")
    ] = ModelName.by_hand,
    hidden_size: Annotated[int, typer.Option(help="Hidden size of a new forecaster.")] = 16,
    num_layers: Annotated[int, typer.Option(help="Number of layers of a new forecaster.")] = 1,
    backend: Backend = BackendName.jax,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the data. Default: 5000 by hand on the built-in data, else 300.")
    ] = None,
    dtype: Dtype = DtypeName.float32,
    learning_rate: Annotated[float, typer.Option(help="Learning rate of Adam.")] = 1e-3,
    batch_size: Annotated[int, typer.Option(help="Examples per step.")] = 1,
    weights_file: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="Weights to start from. Default: the published ones by hand on the built-in data, else random.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed for random initial weights.")] = 0,
    csv: Annotated[
        Path | None, typer.Option(help="Real prices: a CSV file with a date column and a price column.")
    ] = None,
    column: Annotated[str, typer.Option(help="Name of the price column.")] = "close",
    where: Annotated[
        str | None, typer.Option(metavar="COLUMN=VALUE", help="Rows to use, when the file holds several series.")
    ] = None,
    window: Annotated[int, typer.Option(help="Number of days from which the next is predicted.")] = 4,
    out: Annotated[
        Path | None, typer.Option(help="Write the trained weights to this .safetensors or .npz file.")
    ] = None,
    checkpoint_dir: Annotated[Path | None, typer.Option(help="Write checkpoints to this directory.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the newest checkpoint there.")] = False,
    log_dir: Annotated[Path | None, typer.Option(help="Write TensorBoard logs to this directory (torch only).")] = None,
    plot: PlotFile = None,
    json_file: JsonFile = None,
) -> None:
    """Train the LSTM by hand or a forecaster with Adam, and show what it predicts.

    With --csv, the prices are sorted by date and the last 20 % of the days are held out. Scaling maps the training
    prices to 0..1. The error on the held-out days is shown next to the errors of two predictions that need no model:
    the price of the day before, and the mean of the training prices.
    """
    require_outputs(
        {"--out": out, "--plot": plot, "--json": json_file},
        inputs={"--weights": weights_file, "--csv": csv},
        directory=checkpoint_dir,
    )
    if log_dir is not None and backend is not BackendName.torch:
        raise InputError("--log-dir: only the torch backend writes TensorBoard logs: add --backend torch")
    if csv is None:
        refuse_options(context, "needs real prices: add --csv FILE", "column", "where", "window")
    if model is ModelName.by_hand:
        refuse_options(context, "needs --model forecaster", "hidden_size", "num_layers")
    problems = require_whole("--seed", seed)
    for option, number in (("--hidden-size", hidden_size), ("--num-layers", num_layers)):
        problems += require_whole(option, number, at_least=1)
    if not 0 < learning_rate < math.inf:
        problems.append(f"--learning-rate is {learning_rate}, expected a positive number")
    InputError.raise_any(problems)
    import numpy as np

    from lstm_parity.training import backends
    from lstm_parity.training.price_run import HeldOut, model_array
    from lstm_shared.by_hand import COMPANY_LABELS, COMPANY_PRICES
    from lstm_shared.prices.files import read_prices
    from lstm_shared.prices.windows import prepare_prices
    from lstm_shared.weight_files.load_save import save

    by_hand = model is ModelName.by_hand
    series = None if csv is None else read_prices(csv, column, where=where)
    prices = None if series is None else prepare_prices(series, window, dtype=dtype)
    if weights_file is not None:
        weights = load_by_hand(weights_file) if by_hand else _load_forecaster(weights_file)
        require_finite_in(dtype, weights, f"{weights_file}: ")
    else:
        weights = _new_weights(by_hand, prices is None, seed, hidden_size, num_layers)
    data = prices.train if prices else tuple(array.astype(dtype) for array in (COMPANY_PRICES, COMPANY_LABELS))
    default_epochs = _PUBLISHED_EPOCHS if by_hand and prices is None else _OTHER_EPOCHS
    result = backends.train(
        backend.value,
        {name: np.asarray(weight, dtype) for name, weight in weights.items()},
        tuple(model_array(array, by_hand) for array in data),
        epochs=default_epochs if epochs is None else epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        checkpoint_dir=checkpoint_dir,
        resume=resume,
        progress=True,
        log_dir=log_dir,
    )
    wrong = what_failed(result, out)
    unsaved = [] if wrong else save_each([(out, lambda path: save(path, result.weights))])
    lines = lines_of(backend, dtype, result, checkpoint_dir if resume else None)
    record = {"model": model.value, "backend": backend.value, "dtype": dtype.value, **record_of(result)}
    held_out = None
    if series is None or prices is None:
        inputs = model_array(data[0], by_hand)
        said = backends.predict(backend.value, result.weights, inputs).reshape(len(inputs))
        for company, value, label in zip("AB", said, data[1], strict=True):
            # In float32 the sixth decimal differs from machine to machine.
            decimals = 7 if dtype is DtypeName.float64 else 5
            lines.append(f"company {company}: predicted {value:.{decimals}f}, label {label:g}")
    elif not wrong:
        held_out = HeldOut.of(backend.value, result.weights, series, prices)
        record |= held_out.to_dict()

    def draw(path: Path) -> None:
        from lstm_parity.report.plots import held_out_prices, save_figure, training_curves

        if held_out is None:
            figure = training_curves({backend.value: result}, data[1])
        else:
            curves = {
                "price": held_out.actual,
                "predicted by the model": held_out.predicted,
                "tomorrow = today": held_out.day_before,
            }
            unit = "" if series is None else series.column
            figure = held_out_prices({backend.value: result}, held_out.dates, curves, held_out.reach, unit)
        save_figure(figure, path)

    unsaved += save_each([(json_file, write_json(record)), (None if wrong else plot, draw)])
    say(*lines)
    if series is not None and held_out is not None:
        show(score_table(held_out.score, series.column))
        if held_out.reach is not None:
            days = f"{held_out.score.unreachable} of {held_out.score.days} held-out prices"
            say(f"{days} lie outside what the model can say, (-1, 1) scaled")
    if out is not None and not wrong and not any(line.startswith(f"{out}:") for line in unsaved):
        say(f"weights written to {out}")
    InputError.raise_any([*wrong, *unsaved])


def _new_weights(by_hand: bool, embedded: bool, seed: int, hidden_size: int, num_layers: int) -> "NumPyWeights":
    from lstm_shared.by_hand import PUBLISHED_INIT
    from lstm_shared.initial_weights import init_by_hand, init_forecaster

    if by_hand:
        return PUBLISHED_INIT if embedded else init_by_hand(seed)
    columns = 1 + hidden_size + 2 + (num_layers - 1) * (2 * hidden_size + 2)
    # Weights, gradient and both of Adam's averages in float32: a lower bound for any run.
    require_memory(
        f"--hidden-size {hidden_size} with --num-layers {num_layers}", 4 * 4 * (4 * hidden_size * columns + hidden_size)
    )
    return init_forecaster(1, hidden_size, num_layers=num_layers, seed=seed)


def _load_forecaster(path: Path) -> "NumPyWeights":
    from lstm_shared.errors import WeightsError
    from lstm_shared.specs import ForecasterSpec, in_words

    _, weights, spec = load_model(path, None)
    if not isinstance(spec, ForecasterSpec):
        raise WeightsError(f"{path}: holds {in_words(spec)}, expected a forecaster (lstm.…, fc.weight, fc.bias)")
    if (spec.lstm.input_size, spec.output_size) != (1, 1):
        raise WeightsError(f"{path}: holds {in_words(spec)}, expected one price in and one out")
    return weights
