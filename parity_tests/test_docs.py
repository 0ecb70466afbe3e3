"""``make docs``: the site is built without a warning, and no link of a page leads nowhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pages import MAKEFILE, PAGES, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built with the options of ``make docs``."""
    folder = tmp_path_factory.mktemp("site")
    (recipe,) = re.findall(r"-m sphinx (.*) build/docs$", MAKEFILE, re.MULTILINE)
    assert "--fail-on-warning" in recipe
    build = [sys.executable, "-m", "sphinx", "-d", str(folder / "trees"), *recipe.split(), str(folder / "site")]
    done = subprocess.run(build, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder / "site"


class Links(HTMLParser):
    """What a page links to, and the anchors on it."""

    def __init__(self, page: Path):
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.targets += [given[name] for name in ("href", "src") if name in given]


def test_no_link_leads_nowhere(site):
    pages = {page: Links(page) for page in site.rglob("*.html") if "_static" not in page.parts}
    assert len(pages) > len(PAGES)
    dead = []
    for page, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            there = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            anchor = unquote(parts.fragment)
            if not there.exists() or (anchor and there in pages and anchor not in pages[there].anchors):
                dead.append(f"{page.relative_to(site)}: {target}")
    assert not dead, "\n".join(dead)


def test_every_public_name_is_in_the_reference(site):
    """Whoever adds a name to a package adds it to its page."""
    import jax_lstm
    import lstm_parity
    import lstm_shared
    import torch_lstm

    shown = "".join(page.read_text() for page in (site / "docs" / "api").glob("*.html"))
    missing = [
        f"{package.__name__}.{name}"
        for package in (lstm_shared, jax_lstm, torch_lstm, lstm_parity)
        for name in package.__all__
        if f".{name}" not in shown
    ]
    assert not missing


def test_the_pages_load_nothing_from_elsewhere(site):
    """No script, style or font of another server: the site works without a network, and tells nobody who reads it."""
    loaded = [
        f"{page.name}: {target}"
        for page in site.rglob("*.html")
        for target in Links(page).targets
        if urlsplit(target).netloc and target.rpartition(".")[2] in ("js", "css", "woff2", "png", "svg")
    ]
    assert not loaded


def test_every_page_is_on_the_site(site):
    for page in PAGES:
        if page.name != "README.md":
            assert (site / page.relative_to(ROOT)).with_suffix(".html").is_file(), page
