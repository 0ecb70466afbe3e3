"""A report as one self-contained HTML page: verdict, pictures, every row, versions, and the command to repeat it."""

import base64
from collections.abc import Mapping
from html import escape as escape_markup

from matplotlib.figure import Figure

from lstm_parity.compare.rows import Row
from lstm_parity.report.plots import figure_bytes
from lstm_parity.report.report import SHOWN_ROWS, Report
from lstm_parity.report.tables import describe_row
from lstm_shared.printable import printable

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; }
h2 { font-size: 1.1rem; margin: 1.5rem 0 .3rem; }
.verdict { padding: .7rem 1rem; border-radius: .4rem; color: #fff; background: #22683a; }
.verdict.differ { background: #9b1c1c; }
.verdict.undecided { background: #8a5a00; }
.answer p { margin: .3rem 0; white-space: pre-wrap; }
.wide { overflow-x: auto; }
details { margin: .5rem 0; }
summary { cursor: pointer; }
img { max-width: 100%; background: #fff; border-radius: .4rem; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .6rem .15rem 0; text-align: right; border-bottom: 1px solid #8883; }
th:first-child, td:first-child { text-align: left; }
tr.failed td { color: #b42318; font-weight: 600; }
.bar { display: inline-block; height: .6rem; background: #3b82c4; border-radius: .15rem; vertical-align: middle; }
tr.failed .bar { background: #b42318; }
dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1rem; font-size: .85rem; }
dd { margin: 0; }
code { font-size: .9rem; overflow-wrap: anywhere; }
"""


def html_page(report: Report, subject: str, pictures: Mapping[str, Figure]) -> str:
    """Return the HTML of the page.

    Args:
        subject: what was checked, in words.
        pictures: title -> figure. The page embeds them.
    """
    answer = "".join(f"<p>{_escape(line)}</p>" for line in report.answer())
    rows = [_table_row(row) for row in report.worst_first]
    more = len(rows) - SHOWN_ROWS
    others = f"<details><summary>{more} more</summary>{_table(rows[SHOWN_ROWS:])}</details>" if more > 0 else ""
    images = "".join(
        f'<h2>{_escape(title)}</h2><img alt="{_escape(title)}" src="data:image/png;base64,'
        f'{base64.b64encode(figure_bytes(figure, "png")).decode()}">'
        for title, figure in pictures.items()
    )
    settings = {**report.environment, "seed": str(report.seed)}
    settings |= {f"seconds, {side}": f"{seconds:.2f}" for side, seconds in report.seconds.items()}
    facts = "".join(f"<dt>{_escape(name)}</dt><dd>{_escape(value)}</dd>" for name, value in settings.items())
    command = f"<h2>To repeat it</h2><code>{_escape(report.command)}</code>" if report.command else ""
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>lstm-parity: {report.verdict_word}</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>
<body>
<h1>lstm-parity</h1>
<p>{_escape(subject)}</p>
<p class="verdict {report.verdict_word}">{_escape(report.verdict())}</p>
<div class="answer">{answer}</div>
{images}
<h2>Comparisons, {"closest to the limit" if report.ok else "worst"} first</h2>
<p>Difference: the largest in the array. Allowed: the tolerance. Used: the largest share of it. Relative: the difference
divided by the largest number of the array.</p>
{_table(rows[:SHOWN_ROWS])}
{others}
<h2>Where it ran</h2>
<dl>{facts}</dl>
{command}
</body>
</html>
"""


def _escape(text: str) -> str:
    """Escape text for HTML. Invisible characters and those that change the writing direction become visible escapes."""
    return escape_markup(printable(text))


def _table(rows: list[str]) -> str:
    titles = ("array", "dtype", "sides", "difference", "allowed", "used", "", "relative")
    head = "".join(f"<th>{title}</th>" for title in titles)
    return f"<div class=wide><table>\n<tr>{head}</tr>\n{''.join(rows)}</table></div>"


def _table_row(row: Row) -> str:
    cells = describe_row(row)
    width = 100 * min(row.used, 1.0) if row.used == row.used else 100
    return (
        f"<tr{'' if row.ok else ' class=failed'}><td>{_escape(cells['array'])}</td><td>{row.dtype}</td>"
        f"<td>{_escape(' / '.join(row.sides))}</td><td>{cells['difference']}</td><td>{cells['allowed']}</td>"
        f"<td>{cells['used']}</td><td><span class=bar style='width:{width * 0.05:.2f}rem'></span></td>"
        f"<td>{cells['relative']}</td></tr>\n"
    )
