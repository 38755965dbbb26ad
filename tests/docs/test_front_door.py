"""README, CONTRIBUTING and what stands beside them say what is so."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
import yaml
from guide_pages import CONTRIBUTING, DOCS, README, ROOT, blocks

from attention_lab.attention import CATALOGUE
from attention_lab.params import TaskName
from attention_lab.summary import describe
from benchmarks.interpretation import scored

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MEASURED = (ROOT / "benchmarks" / "quality.md").read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of a page's tables, a list for each line."""
    lines = re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines]


def committed(folder: Path) -> Path:
    """The metrics that git has: those beside this file are of the last experiment."""
    for name in ("train", "evaluate", "interpret"):
        said = subprocess.run(["git", "show", f"HEAD:metrics/{name}.json"], cwd=ROOT, capture_output=True, check=False)
        if said.returncode:
            pytest.skip("there is no git here")
        (folder / f"{name}.json").write_bytes(said.stdout)
    return folder


def test_readme_shows_what_the_summary_says(tmp_path: Path) -> None:
    """… of what is committed, or is about to be."""
    ((_, shown),) = blocks(README, "text")
    now = describe(ROOT / "metrics").replace(f"{ROOT}/", "")
    if shown.strip() != now:
        before = describe(committed(tmp_path)).replace(str(tmp_path), "metrics")
        assert shown.strip() == before, f"this is what README should show:\n{before}\nor, with what is here:\n{now}"


def test_the_table_of_mechanisms_is_the_one_that_was_measured() -> None:
    found = pd.read_csv(DOCS / "measured" / "interpretation.csv", dtype={"seed": str})
    table = scored(found).partition("\n\n")[2]
    assert table in README.read_text(encoding="utf-8")
    names = re.findall(r"^\| `(\w+)` ", table, re.MULTILINE)
    assert len(names) >= 8
    assert set(names) <= set(CATALOGUE)


def test_scores_on_real_data_are_those_that_were_measured() -> None:
    (told,) = re.findall(
        r"^On text that people wrote, from scratch: (.*?)\.\s", README.read_text(encoding="utf-8"), re.M | re.S
    )
    scores = re.findall(r"(Multi30k|TREC-6|SST-2|AESLC)[^\d,]* ([\d.]+)", " ".join(told.split()))
    assert len(scores) == 4
    for data, score in scores:
        (line,) = re.findall(rf"^\| {data}, .*$", MEASURED, re.MULTILINE)
        assert line.split("|")[4].strip() == score, (data, line)


def test_scores_of_the_tasks_are_those_that_were_measured(tmp_path: Path) -> None:
    section = MEASURED.split("## The embedded corpora")[1].split("###")[0]
    _, _, *table = [cells for cells in rows(README.read_text(encoding="utf-8")) if len(cells) == 4]
    assert [cells[0].replace(" ", "_") for cells in table] == [
        name for name in get_args(TaskName) if name != "multi_label"
    ]
    for task, _, score, beside in table:
        (line,) = (line for line in section.splitlines() if line.startswith(f"| {task.replace(' ', '_')} "))
        for number in re.findall(r"\d+\.\d+", score):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", line), (task, number)
        for number in re.findall(r"\d+\.\d+", beside):
            assert f" {number} " in section.replace("\n", " "), (task, number)
    translation = json.loads((committed(tmp_path) / "evaluate.json").read_text(encoding="utf-8"))
    assert table[0][2] == "{score:.1f} ({score_low:.1f} to {score_high:.1f})".format_map(translation)


@pytest.mark.parametrize("page", [README, CONTRIBUTING], ids=lambda page: page.stem)
def test_links_lead_to_files(page: Path) -> None:
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    inside = [target for target in found if not target.startswith(("https://", "../../actions/"))]
    assert len(inside) >= 1
    for target in inside:
        assert (page.parent / target).exists(), target


def test_the_badge_is_of_a_workflow_that_runs_tests_gates_and_pipeline() -> None:
    """GitHub shows it at such an address, below that of any copy of the repository."""
    found = set(re.findall(r"\.\./\.\./actions/workflows/([\w.]+)", README.read_text(encoding="utf-8")))
    assert found == {"ci.yml"}
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert set(workflow["jobs"]) == {"test", "data-gate", "pipeline"}


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 140


def test_the_map_names_files_and_names_in_them() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8")
    paths = set(re.findall(r"`([\w.]+/[\w./]*|[\w.-]+\.(?:yaml|lock|md|cff|py))`", text))
    beside = {f"{name}.py" for name in ("normalisers", "patterns", "positions", "heads", "operations")}
    assert len(paths) > 30
    assert beside <= paths
    for path in paths:
        assert (ROOT / "src/attention_lab/attention" / path if path in beside else ROOT / path).exists(), path
    named = re.findall(r"`(\w+)` of `([\w/.]+)`", text)
    assert len(named) > 8
    for name, path in named:
        assert re.search(rf"^(class )?{name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), (name, path)


def test_hooks_run_what_make_lint_runs() -> None:
    """… from the environment: nothing is fetched."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert [hook["entry"] for hook in repository["hooks"]] == lint.replace("\t", "").splitlines()


def test_the_citation_is_that_of_the_package() -> None:
    """What the schema of cff 1.2.0 requires, and what pyproject.toml says."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= cited.keys()
    assert all(isinstance(cited[name], str) for name in ("message", "title", "abstract", "version", "license"))
    assert cited["authors"] == [{"name": "attention-lab contributors"}]
    assert cited["type"] == "software"
    assert (cited["version"], cited["license"]) == (PROJECT["version"], PROJECT["license"])
    assert set(cited["keywords"]) == set(PROJECT["keywords"])


def test_what_an_issue_asks_is_shown_with_a_name() -> None:
    templates = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md"))
    assert [path.stem for path in templates] == ["bug", "mechanism"]
    for path in templates:
        _, head, body = path.read_text(encoding="utf-8").split("---\n", 2)
        assert {"name", "about"} <= yaml.safe_load(head).keys()
        assert body.strip()
