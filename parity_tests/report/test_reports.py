"""Reports: devices, plots, the HTML page, and the assertion for pytest."""

import html.parser
import itertools
import re

import jax
import numpy as np
import pytest
import torch

import jax_lstm
import lstm_parity
from lstm_parity.location.over_time import errors_over_time
from lstm_parity.pytest_plugin import assert_parity
from lstm_parity.report.html import html_page
from lstm_parity.report.plots import error_picture, figure_bytes, held_out_prices
from lstm_parity.sides.case import DRAWN_TIME
from lstm_parity.sides.devices import full_precision, has_float64, jax_devices, torch_devices
from lstm_parity.sides.port import Port
from lstm_shared import BY_HAND, InputError, init_by_hand, init_forecaster, init_lstm, save
from lstm_shared.training.plan import FitResult

WEIGHTS = init_lstm(5, 4, num_layers=2, bidirectional=True)
ONE_LAYER = init_lstm(5, 4)


def wrong_port(params, inputs):
    return jax_lstm.lstm({**params, "bias_hh_l0": params["bias_hh_l0"] * 2}, inputs)


WRONG = Port(wrong_port, framework="jax")


@pytest.mark.parametrize("jax_device", jax_devices())
@pytest.mark.parametrize("torch_device", torch_devices())
def test_every_device_that_is_here_agrees(jax_device, torch_device):
    report = lstm_parity.check(WEIGHTS, steps=2, lengths=[7, 3], jax_device=jax_device, torch_device=torch_device)
    assert report.ok, str(report)
    expected = {"float64", "float32"} if has_float64(jax_device, torch_device) else {"float32"}
    assert {row.dtype for row in report.rows} == expected


def test_a_device_that_is_not_here_is_named_with_those_that_are():
    with pytest.raises(InputError) as caught:
        lstm_parity.check(WEIGHTS, jax_device="abacus", torch_device="slide rule")
    assert len(caught.value.problems) == 2
    assert "JAX finds no 'abacus' here, only" in caught.value.problems[0]


def test_a_device_without_float64_is_judged_by_the_oracle_on_the_cpu(monkeypatch):
    monkeypatch.setattr("lstm_parity.verdict.check.has_float64", lambda *_: False)
    report = lstm_parity.check(WEIGHTS, steps=1)
    assert {row.dtype for row in report.rows} == {"float32"}
    assert all(row.errors is not None for row in report.rows)


def test_full_precision_ends_with_its_block():
    before = torch.backends.cudnn.allow_tf32
    with full_precision():
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
        assert jax.config.jax_default_matmul_precision == "highest"
    assert torch.backends.cudnn.allow_tf32 == before
    assert jax.config.jax_default_matmul_precision is None


def test_all_devices_make_one_table(cli, tmp_path):
    ran = cli("check", "--all-devices", "--dtypes", "float64", "--json", tmp_path / "all.json")
    assert ran.code == 0
    rows = ran.out.splitlines()[1:]
    assert len(rows) == len(jax_devices()) * len(torch_devices())
    assert all("agree: " in row for row in rows)


@pytest.mark.parametrize(
    ("weights", "options", "names"),
    [
        (WEIGHTS, {}, {"input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden"}),
        (WEIGHTS, {"batch_first": True, "lengths": [4, 9]}, {"cell", "hidden"}),
        (init_lstm(5, 4, proj_size=3), {"inputs": np.ones((6, 5), np.float32)}, {"projection"}),
        (init_forecaster(5, 4), {}, {"cell"}),
        (init_by_hand(1), {}, {"long_memory", "output_percent"}),
    ],
    ids=["layers and directions", "batch first and ragged", "projected and unbatched", "forecaster", "by hand"],
)
def test_errors_over_time_have_one_entry_a_step(weights, options, names):
    errors, tolerance, sides = errors_over_time(weights, None, options)
    assert names <= set(errors)
    (time,) = {len(error) for error in errors.values()}
    assert time == {"inputs": 6, "lengths": 9}.get(
        next(reversed(options), ""), 4 if set(weights) == set(BY_HAND) else DRAWN_TIME
    )
    assert all((error < tolerance).all() for error in errors.values())
    assert sides == "jax against torch, float32"


def test_a_wrong_port_stands_above_the_tolerance_in_the_picture():
    errors, tolerance, sides = errors_over_time(ONE_LAYER, WRONG, {})
    assert set(errors) == {"outputs"}
    assert (errors["outputs"] > tolerance).all()
    picture = error_picture(errors, tolerance, sides)
    assert figure_bytes(picture, "png").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("reach", "shown"),
    [(None, []), ((-50.0, 150.0), ["highest"]), ((50.0, 500.0), []), ((101.0, 150.0), ["lowest", "highest"])],
)
@pytest.mark.parametrize("days", [3, 5, 25, 100, 400, 1300, 9000])
def test_the_held_out_picture_has_every_prediction_the_reach_within_view_and_dates_apart(reach, shown, days):
    losses = np.linspace(1.0, 0.1, 20)
    run = FitResult({}, losses, losses, np.zeros((20, 1), int), steps=20, epochs=20)
    dates = np.datetime64("2008-03-01") + np.arange(days)
    names = ["price", "predicted by the model", "tomorrow = today"]
    curves = {name: np.linspace(100.0, 200.0, days) + k for k, name in enumerate(names)}
    figure = held_out_prices({"jax": run}, dates, curves, reach, "price")
    right = figure.axes[1]
    legend = [text.get_text() for text in right.get_legend().get_texts()]
    assert legend == [*names, *(f"{word} price the model can predict" for word in shown)]
    figure.draw_without_rendering()
    labels = [label.get_window_extent() for label in right.get_xticklabels() if label.get_text()]
    assert len(labels) > 1
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(labels))


class Page(html.parser.HTMLParser):
    """Collects what a page refers to, and checks that its tags are closed."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("candidate", [None, WRONG], ids=["agree", "differ"])
def test_the_page_is_whole_and_refers_to_nothing_outside(candidate):
    report = lstm_parity.check(ONE_LAYER, candidate=candidate, steps=1)
    picture = error_picture(*errors_over_time(ONE_LAYER, candidate, {}))
    text = html_page(report, "a <model> & its weights", {"error over time": picture})
    page = Page(text)
    assert page.open == []
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "a &lt;model&gt; &amp; its weights" in text
    assert report.verdict() in text
    for row in report.rows:
        assert row.name in text
    for name, value in report.environment.items():
        assert f"<dt>{name}</dt><dd>{value}</dd>" in text
    assert len(re.findall("<tr class=failed>", text)) == sum(not row.ok for row in report.rows)


def test_the_command_line_writes_the_page_with_the_command_that_repeats_it(cli, tmp_path):
    save(tmp_path / "weights.npz", ONE_LAYER)
    ran = cli(
        "check",
        tmp_path / "weights.npz",
        "--steps",
        1,
        "--html",
        tmp_path / "page.html",
        "--plot",
        tmp_path / "errors.png",
    )
    assert ran.code == 0
    text = (tmp_path / "page.html").read_text()
    assert f"lstm-parity check {tmp_path / 'weights.npz'} --steps 1 --html" in text
    assert (tmp_path / "errors.png").read_bytes().startswith(b"\x89PNG")


def test_a_cell_has_a_page_but_no_picture_over_time(cli, tmp_path):
    save(tmp_path / "cell.npz", {name.removesuffix("_l0"): array for name, array in ONE_LAYER.items()})
    assert cli("check", tmp_path / "cell.npz", "--steps", 0, "--html", tmp_path / "page.html").code == 0
    ran = cli("check", tmp_path / "cell.npz", "--plot", tmp_path / "errors.png")
    assert ran.code == 2
    assert ran.problems == ["--plot: an LSTM cell has one step, so there is no error over time to plot"]


def test_assert_parity_passes_a_right_port_and_returns_its_report():
    assert assert_parity(ONE_LAYER, steps=1).ok
    assert assert_parity(ONE_LAYER, Port(jax_lstm.lstm, framework="jax")).ok


def test_assert_parity_fails_with_the_report_as_its_message():
    with pytest.raises(AssertionError) as caught:
        assert_parity(ONE_LAYER, WRONG)
    message = str(caught.value)
    assert message.startswith("verdict: differ: ")  # pytest's summary shows the first line
    assert "forward, outputs at [0, 0, 0]" in message
