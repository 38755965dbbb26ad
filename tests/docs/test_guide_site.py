"""The site as it is built: strictly, whole, and without asking anyone for anything."""

# ruff: noqa: E402 - what the guide needs is an extra, so it is looked for first

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

for needed in ("furo", "latex2mathml", "myst_parser", "sphinx"):
    pytest.importorskip(needed, reason="the guide needs `pip install -e '.[docs]'`")

from guide import catalogue, figures, flow, measured, notebook, sources
from guide_pages import ROOT, commands, overrides

from attention_lab.attention import CATALOGUE
from attention_lab.attention.catalogue import available
from attention_lab.mechanisms import PLACE_NAMES, READ


class Fetched(HTMLParser):
    """What a browser fetches for a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") not in ("index", "search", "next", "prev", "author", "canonical"):
            self.found.append(given.get("href") or "")
        if tag in ("script", "img", "iframe", "source", "video", "audio", "object", "embed"):
            self.found += [value for key in ("src", "srcset", "data") if (value := given.get(key))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--doctree-dir"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    built = subprocess.run(
        [sys.executable, *command, f"{folder}/trees", ROOT / "docs", folder / "html"],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert not built.stderr
    return folder / "html"


def pages(site: Path) -> dict[str, str]:
    return {str(page.relative_to(site)): page.read_text(encoding="utf-8") for page in site.rglob("*.html")}


def test_every_row_has_a_page_that_says_what_the_catalogue_says(site: Path) -> None:
    for known in (measured.quality(), measured.curves(list(CATALOGUE))):
        assert not set(CATALOGUE) - set(known), "not measured yet; docs/howto/extend.md says how that is done"
    for name, row in CATALOGUE.items():
        page = (site / "catalogue" / f"{name}.html").read_text(encoding="utf-8")
        text = html.unescape(re.sub(r"<[^>]+>", "", page))
        flat = " ".join(text.split())
        for said in (row.formula, row.paper, row.when, row.cost, row.weights, *row.parts.values()):
            assert " ".join(said.split()) in flat.replace("’", "'"), (name, said)
        for place in row.places:
            assert PLACE_NAMES[place] in flat
        for option in available(row):
            assert option in flat
        assert f"class {next(iter(sources.own_parts(row).values())).__name__}" in flat
        cells = page.count("<rect class=")
        assert cells == 0 if row.weights == "none" else cells % (2 * len(READ)) == 0
        assert measured.quality()[name] is not None
        assert f"{measured.quality()[name]['bleu']:.1f}" in flat


def test_a_row_that_was_not_measured_has_a_page_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    read = measured.read("curves")
    without = {name: curve for name, curve in read["curves"].items() if name != "sparsemax"}
    parts = {"curves": {**read, "curves": without}, "quality": {}}
    monkeypatch.setattr(measured, "read", parts.__getitem__)
    page = catalogue.page(CATALOGUE["sparsemax"])
    assert "| {row}`sparsemax` | not measured yet | not measured yet | not measured yet |" in page
    assert "has not been trained" in page


def test_no_page_asks_for_anything_from_elsewhere(site: Path) -> None:
    for name, text in pages(site).items():
        for address in Fetched(text).found:
            assert not re.match(r"[a-z]+:|/", address), (name, address)  # so a copy elsewhere works, too
            path = (site / name).parent / address.split("?")[0]
            assert path.is_file(), (name, address)
    for style in site.rglob("*.css"):
        for address in re.findall(r"url\(\s*['\"]?([^)'\"]+)|@import", style.read_text(encoding="utf-8")):
            assert address.startswith(("data:", "#")), (style, address)


def test_what_would_be_fetched_is_seen() -> None:
    text = (
        '<link rel="stylesheet" href="https://x.org/a.css"><script src="//y.org/b.js"></script><a href="https://z.org">'
    )
    assert Fetched(text).found == ["https://x.org/a.css", "//y.org/b.js"]


def test_formulas_are_drawn_by_the_browser(site: Path) -> None:
    for page in (ROOT / "docs" / "theory").glob("*.md"):
        built = (site / "theory" / f"{page.stem}.html").read_text(encoding="utf-8")
        assert built.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">') == len(
            re.findall(r"^\$\$", page.read_text(encoding="utf-8"), re.MULTILINE)
        )
        assert "$" not in re.sub(r"<(pre|script|code).*?</\1>", "", built, flags=re.DOTALL)


def test_the_notebook_is_a_page_with_what_it_printed_and_drew(site: Path) -> None:
    page = (site / "notebook" / "index.html").read_text(encoding="utf-8")
    cells = json.loads(notebook.NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert page.count("<img ") == sum("image/png" in output.get("data", {}) for output in outputs) > 10
    assert page.count("highlight-python") == sum(cell["cell_type"] == "code" for cell in cells)
    assert page.count('class="docutils align-default dataframe"') == sum(
        "text/html" in output.get("data", {}) and "image/png" not in output["data"] for output in outputs
    )
    prose = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "markdown")
    assert page.count('display="block">') == prose.count("$$") // 2
    assert "$" not in re.sub(r"<(pre|script|code).*?</\1>", "", page, flags=re.DOTALL)


def test_experiments_of_the_catalogue_are_taken(site: Path, tmp_path: Path) -> None:
    """`site`: the pages are written when it is built."""
    from test_guide_code import experiment

    for name in ("local", "multi_query", "entmax"):
        offered = commands(ROOT / "docs" / "catalogue" / f"{name}.md")
        assert len(offered) == 2
        for words in offered:
            assert overrides(words)[0] == f"attention.mechanism={name}"
            experiment(words, tmp_path)


def test_a_theory_page_tells_of_every_row() -> None:
    assert set(sources.told()) == set(CATALOGUE)


def test_a_reference_to_what_does_not_exist_is_seen() -> None:
    assert sources.is_test("tests/docs/test_guide_site.py::test_a_theory_page_tells_of_every_row")
    assert not sources.is_test("tests/docs/test_guide_site.py::test_of_nothing")
    assert not sources.is_test("tests/docs/test_of_nothing.py")
    assert sources.is_message("attention.mechanism: there is no mechanism …; choose one of …")
    assert not sources.is_message("attention.mechanism: there is no such mechanism as …")


def test_the_tests_of_a_row_are_found_by_what_they_name() -> None:
    found = sources.tests_of("additive")
    assert "tests/attention_lab/attention/test_scores.py::test_additive_is_that_of_keras" in found
    assert not any("sparse_weights" in test for test in found)


def test_what_an_option_means_is_read_from_its_docstring() -> None:
    assert sources.argument(sources.part("normaliser", "entmax"), "alpha") == "α at the start."
    assert sources.argument(sources.part("pattern", "hashed"), "rounds") == "number of hashing rounds."
    assert sources.argument(sources.part("position", "rotary"), "base") == "wavelengths go from 2π to base·2π."
    assert sources.argument(sources.part("pattern", "local"), "window") == ""


def test_a_picture_has_the_words_on_its_axes() -> None:
    words = figures.weights("causal", "encoder_self")
    assert words.shape == (figures.SHOWN, len(READ), len(READ))
    assert not words.triu(1).any()  # rows look, columns are looked at
    drawn = figures.maps("causal", "encoder_self")
    assert drawn.count('class="nothing"') >= figures.SHOWN * len(READ) * (len(READ) - 1) // 2
    with pytest.raises(ValueError, match="weights of"):
        figures._map(words[0, :3], READ, "causal, head 1")


def test_the_picture_of_the_pipeline_is_that_of_dvc() -> None:
    assert ("clean", "vocab") in flow.edges()
    assert ("evaluate", "interpret") in flow.edges()
    assert ("vocab", "split") not in flow.edges()
    assert flow.drawn().count('class="arrow"') == len(flow.edges())
