"""``lstm-parity check FILE``: our JAX backend, or a port, against torch on the model in a weight file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lstm_parity.cli.inputs import load_model
from lstm_parity.cli.options import command_line
from lstm_parity.cli.outputs import save_each, write_json
from lstm_parity.cli.screen import say, show
from lstm_parity.sides.kinds import kind_of
from lstm_shared.by_hand import PUBLISHED_INIT
from lstm_shared.errors import InputError
from lstm_shared.memory import require_memory
from lstm_shared.specs import ByHandSpec, Spec, in_words

if TYPE_CHECKING:
    import numpy as np

    from lstm_parity.annotations import NumPyWeights
    from lstm_parity.sides.kinds import ModelKind
    from lstm_parity.sides.port import Port


@dataclass(frozen=True)
class Subject:
    """The model to check: the one in a file, or the built-in one."""

    weights: "NumPyWeights"
    spec: Spec
    lines: tuple[str, ...] = ()  # printed above the verdict

    @classmethod
    def of(cls, file: Path | None, prefix: str | None, *, drawn_lengths: "np.ndarray | None") -> Self:
        """Return the model in the file, or the built-in one if there is no file.

        Args:
            drawn_lengths: lengths for which inputs will be drawn. The memory for them is checked first.

        Raises:
            OSError, InputError, WeightsError: as in ``load_model``, or the inputs do not fit into memory.
        """
        if file is None:
            return cls(PUBLISHED_INIT, ByHandSpec())
        prefix, weights, spec = load_model(file, prefix)
        if drawn_lengths is not None:
            _require_memory(kind_of(spec), drawn_lengths)
        return cls(weights, spec, (f"{file}: {prefix}{': ' if prefix else ''}{in_words(spec)}", ""))


def check_file(
    subject: Subject,
    options: dict[str, Any],
    port: "Port | None",
    *,
    every_row: bool,
    json_file: Path | None,
    plot: Path | None,
    html: Path | None,
) -> int:
    """Check a model, write the files that were asked for, print the report, and return its exit code.

    Args:
        options: options of ``lstm_parity.check``.
        port: the side to judge; None for our JAX backend.
    """
    from lstm_parity.verdict.check import check

    has_steps = kind_of(subject.spec).has_steps
    if plot and not has_steps:
        raise InputError("--plot: an LSTM cell has one step, so there is no error over time to plot")
    report = replace(check(subject.weights, candidate=port, **options), command=command_line())
    unsaved = save_each([(json_file, write_json(report.to_json()))])
    if plot or html:
        from lstm_parity.location.over_time import errors_over_time
        from lstm_parity.report.html import html_page
        from lstm_parity.report.plots import error_picture, save_figure
        from lstm_shared.safe_writing import write_file

        pictures = {}
        if has_steps:
            pictures["Error over time"] = error_picture(*errors_over_time(subject.weights, port, options))
        page = html_page(report, in_words(subject.spec), pictures).encode() if html else b""
        unsaved += save_each(
            [
                (plot, lambda path: save_figure(pictures["Error over time"], path)),
                (html, lambda path: write_file(path, page)),
            ]
        )
    say(*subject.lines)
    show(report.screen(every_row=every_row))
    InputError.raise_any(unsaved)
    return report.exit_code


def _require_memory(kind: "ModelKind[Spec]", lengths: "np.ndarray") -> None:
    """Raise an InputError if inputs of these lengths, and the results, need more memory than this machine has.

    Each step needs at least the inputs and both their gradients, and four gates and two states for each layer and
    direction. All of them are float64, and both sides have them.
    """
    if kind.takes_sequence_options and kind.lstm is not None:
        numbers = 2 * kind.lstm.input_size + 6 * len(kind.lstm.places) * kind.lstm.hidden_size
        steps = int(lengths.max(initial=0)) * lengths.size
        require_memory(f"--lengths: {steps} steps of {in_words(kind.spec)}", 2 * 8 * steps * numbers)
