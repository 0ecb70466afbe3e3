"""The record of the benchmark: reading it back from its file, and showing it as tables and pictures."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console
from test_bench import measured

from lstm_parity.bench.cases import CASES, FORWARD, GRADIENT, TRAINING
from lstm_parity.bench.record import plots, table
from lstm_parity.bench.record.measurements import DIFFERS, LEFT_OUT, Measurement
from lstm_parity.bench.record.record import Record, read_record
from lstm_parity.cli.outputs import write_json
from lstm_parity.report.plots import figure_bytes
from lstm_shared import InputError


@pytest.fixture
def record() -> Record:
    """Two cases with known ratios, a contender that differs, one that was left out, and a point of a curve."""
    measurements = (
        measured("torch", 2e-3, 4e-3, first_call=3e-3, steps=64),
        measured("jax", 1e-3, 1e-3, first_call=0.5, steps=64),
        measured("flax", 4e-3, 4e-3, first_call=0.4, steps=64),
        measured("haiku", 3e-3, 2e-3, first_call=0.4, steps=64),
        Measurement("h64", FORWARD, "equinox", DIFFERS, "its numbers differ", tolerance_used=None),
        Measurement("h64", FORWARD, "lightning", LEFT_OUT, "trains something else"),
        measured("torch", 2e-2, 2e-2, mode=GRADIENT),
        measured("jax", 4e-2, 4e-2, mode=GRADIENT),
        measured("torch", 1.0, case="by-hand", mode=TRAINING, steps=200),
        measured("jax", 5e-3, case="by-hand", mode=TRAINING, steps=10_000),
        measured("torch", 8e-3, case="T128", steps=128),
        measured("jax", 2e-3, case="T128", steps=128),
    )
    return Record(
        date="2026-01-02T03:04:05+00:00",
        command="lstm-parity bench --rounds 2",
        device={"cpu": "a processor", "cores": 2},
        versions={"python": "3.11", "torch": "2.13.0"},
        environment={"XLA_FLAGS": "--xla_cpu_prefer_vector_width=512"},
        settings={"threads": 1, "rounds": 2},
        missing={"keras": "not installed"},
        cases={name: CASES[name] for name in ("h64", "by-hand", "T128")},
        measurements=measurements,
    )


def printed(record: Record) -> str:
    text = StringIO()
    Console(file=text, width=80).print(table.show(record))
    return text.getvalue()


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def test_a_record_comes_back_from_its_file_with_the_same_tables(record, tmp_path):
    write_json(record.to_dict())(tmp_path / "record.json")
    read = read_record(tmp_path / "record.json")
    assert read == record
    assert printed(read) == printed(record)
    assert table.markdown(read) == table.markdown(record)


def test_the_file_has_every_figure_of_every_measurement(record):
    content = record.to_dict()
    assert (content["format"], content["environment"]["XLA_FLAGS"]) == (1, "--xla_cpu_prefer_vector_width=512")
    assert content["cases"]["h64"]["dtype"] == "float32"
    jax_ = next(one for one in content["measurements"] if one["contender"] == "jax")
    assert jax_["first_call"] == 0.5
    assert [one["median"] for one in jax_["rounds"]] == [1e-3, 1e-3]
    assert jax_["summary"] == {
        "steady": pytest.approx(
            {"samples": 20, "minimum": 9e-4, "lower_quartile": 9.5e-4, "median": 1e-3, "upper_quartile": 1.1e-3}
        ),
        "microseconds_per_step": pytest.approx(1e3 / 64),
        "times_as_fast_as_torch": pytest.approx({"median": 3.0, "lowest": 2.0, "highest": 4.0}),
        "pays_off_after": 250,
        "strongest_peer": "haiku",
        "times_as_fast_as_strongest_peer": pytest.approx({"median": 2.5, "lowest": 2.0, "highest": 3.0}),
    }
    differs = next(one for one in content["measurements"] if one["outcome"] == DIFFERS)
    assert differs["summary"] is None


def test_the_table_says_what_was_not_timed_and_why(record):
    text = in_one_line(printed(record))
    assert "equinox: its numbers differ" in text
    assert "keras: left out: not installed" in text
    assert "h64 (T 64, B 32, I 32, H 64), forward" in text
    headings = ("first call", "a call, quartiles", "µs a step", "× torch", "lowest–highest", "calls to pay off")
    assert all(f"{heading}: " in text for heading in headings)
    assert "jax is 2.50 (2.00–3.00) times as fast as haiku, the fastest of the others" in text
    assert "unsteady, measure again on an idle machine: torch, haiku" in text
    assert not record.ok


def test_the_markdown_table_has_a_row_for_each_case(record):
    lines = table.markdown(record).splitlines()
    assert lines[2] == (
        "| h64 (T 64, B 32, I 32, H 64) | 3 | 1 | **3.00** (2.00–4.00) | haiku: 2.50 (2.00–3.00) "
        "| 20 | 40 | **0.50** (0.50–0.50) | – |"
    )
    assert lines[3].startswith("| T128 (T 128, B 32, I 32, H 64) | 8 | 2 | **4.00** (4.00–4.00) | – | – | – | – | – |")
    assert lines[4] == ""
    assert lines[-2:] == [
        "| by-hand | torch: a loop in PyTorch | 5,000 | 1.00 (1.00–1.00) |",
        "| by-hand | jax: jax_lstm.fit, one compiled loop | 0.5 | 10,000 (10,000–10,000) |",
    ]
    assert len({line.count("|") for line in lines[:4]}) == 1


def test_both_pictures_are_drawn_where_there_is_something_to_draw(record):
    assert plots.ratio_bars(record) is not None
    assert plots.scaling_curves(record) is not None
    named = replace(record, cases={name: case for name, case in record.cases.items() if not case.curve})
    named = replace(named, measurements=tuple(one for one in record.measurements if one.case in named.cases))
    assert plots.scaling_curves(named) is None
    assert plots.ratio_bars(replace(record, measurements=())) is None
    h64, t128 = (tuple(one for one in record.measurements if one.case == case) for case in ("h64", "T128"))
    cases = {name: record.cases[name] for name in ("h64", "T128")}
    assert plots.ratio_bars(replace(record, cases=cases, measurements=h64 + t128)) is None  # nothing but a curve
    assert plots.ratio_bars(replace(record, cases={"h64": cases["h64"]}, measurements=h64)) is not None


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_the_picture_has_torch_as_its_line_and_ours_by_number(record):
    figure = plots.ratio_bars(record)
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["forward", "forward+backward", "training"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["h64", "by-hand"]
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [["3.00"], ["0.50"], ["10,000"]]
    assert legend_of(figure) == ["jax (ours)", "flax", "haiku", "fastest other JAX library"]
    title = figure.get_suptitle()
    assert all(words in title for words in ("PyTorch", "a processor", "1 thread each", "2 rounds"))


def test_the_picture_rings_the_library_that_the_table_names(record):
    figure = plots.ratio_bars(record)
    assert figure is not None
    (ringed,) = [line for line in figure.axes[0].lines if line.get_markeredgewidth() and line.get_marker() != "None"]
    assert ringed.get_xdata() == [pytest.approx(1.33, abs=0.01)]  # haiku: 2/3 in one round, 2 in the other
    assert "jax is 2.50 (2.00–3.00) times as fast as haiku" in in_one_line(printed(record))


def test_our_variants_are_drawn_where_ours_was_not_timed(record):
    scan = measured("jax-scan", 2e-3, 2e-3)
    both = replace(record, measurements=(*record.measurements, scan))
    alone = replace(both, measurements=tuple(one for one in both.measurements if one.contender != "jax"))
    legends = [legend_of(figure) for figure in map(plots.ratio_bars, (both, alone)) if figure is not None]
    assert ["jax-scan" in legend for legend in legends] == [False, True]


def test_names_from_a_record_are_no_formulas(record):
    odd = r"$\nothing$"
    measurements = tuple(replace(one, case=one.case.replace("h64", odd)) for one in record.measurements)
    measurements += (measured(odd, 1e-3, 1e-3, case="T128"), measured(odd, 1e-3, 1e-3, case="T16"))
    cases = {odd: CASES["h64"], **record.cases, "T16": CASES["T16"]}
    renamed = replace(record, cases=cases, measurements=measurements, device={"cpu": odd * 100})
    for figure in (plots.ratio_bars(renamed), plots.scaling_curves(renamed)):
        assert figure is not None
        assert figure_bytes(figure, "png").startswith(b"\x89PNG")


def test_some_cases_and_modes_of_a_record_are_a_record_too(record):
    assert record.only() == record
    some = record.only(["T128", "h64"], [FORWARD])
    assert list(some.cases) == ["h64", "T128"]
    assert table.markdown(some).splitlines()[3] == table.markdown(record).splitlines()[3]
    assert {(one.case, one.mode) for one in some.measurements} == {("h64", FORWARD), ("T128", FORWARD)}
    assert list(record.only(modes=[TRAINING]).cases) == ["by-hand"]


@pytest.mark.parametrize(
    ("cases", "modes", "said"),
    [
        (["h64", "h128", "huge"], ["adam-step"], ["--case h128: not", "--case huge: not", "--mode adam-step: not"]),
        (["by-hand"], [FORWARD], ["--case by-hand --mode forward: this record has no such case in such a mode"]),
    ],
)
def test_what_a_record_does_not_have_is_named(record, cases, modes, said):
    with pytest.raises(InputError) as raised:
        record.only(cases, modes)
    assert len(raised.value.problems) == len(said)
    assert all(line.startswith(start) for line, start in zip(raised.value.problems, said, strict=True))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no JSON", "not a record"),
        ("[]", "not a record"),
        ('{"rows": []}', "not a record"),
        ('{"format": 7}', "a record of format '7', expected format 1"),
        ('{"format": 1, "cases": {}}', "damaged, or a record of another version: date is missing, and 7 more like it"),
    ],
)
def test_another_file_is_refused(write, content, said):
    with pytest.raises(InputError, match=said):
        read_record(write(content, "record.json"))


RECORDED = Path(__file__).parents[2] / "benchmarks"


# Records of the benchmark. verdict.json and mutants.json come from other scripts.
BENCHES = sorted(RECORDED.glob("cpu*.json"))


@pytest.mark.parametrize("path", BENCHES, ids=lambda path: path.stem)
def test_a_recorded_run_is_whole_and_says_how_to_repeat_it(path):
    run = read_record(path)
    assert run.ok
    assert run.command.startswith("lstm-parity bench ")
    assert f"--json benchmarks/{path.name}" in run.command
    assert {one.contender for one in run.measurements} >= {"torch", "jax"}


def test_the_speed_page_shows_the_recorded_run():
    """It has the tables that ``lstm-parity bench --show benchmarks/cpu.json --markdown`` prints."""
    record = read_record(RECORDED / "cpu.json")
    _, _, after = (RECORDED.parent / "docs" / "speed.md").read_text().partition("<!-- performance table: begin -->\n")
    shown, end, _ = after.partition("\n<!-- performance table: end -->")
    assert end
    assert shown == table.markdown(record)


def test_the_readme_shows_five_rows_of_it():
    recorded = table.markdown(read_record(RECORDED / "cpu.json")).splitlines()
    rows = [line for line in (RECORDED.parent / "README.md").read_text().splitlines() if "(T " in line]
    assert len(rows) == 5
    assert set(rows) <= set(recorded)
