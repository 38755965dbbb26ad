"""The project's own promises about its shape: what imports what, and that DVC watches all that a stage runs."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
STAGES = ("ingest", "clean", "vocab", "split", "encode", "train", "evaluate", "interpret")
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

# Files that code opens as data; they belong to the module that opens them.
TEMPLATES = {
    "src/attention_lab/validation.py": "src/attention_lab/expectations.html",
    "src/attention_lab/interpretation/report.py": "src/attention_lab/interpretation/page/page.html",
}
ORDER = (
    ("errors", "records", "params"),
    ("metrics", "tracking", "device", "processes", "plots"),
    ("corpora", "readers", "presets", "cells", "sources", "inputs", "cleaning", "splitting", "vocabulary"),
    ("encoding", "batching", "segmentation", "validation", "facts", "expectations"),
    ("attention",),
    ("transformer",),
    ("decoding",),
    ("tasks",),
    ("regularisation", "pretraining"),
    ("training", "evaluation"),
    ("interpretation", "inference", "summary", "serving", "huggingface", "mechanisms", "borrowed"),
    ("explanation", "exercises", "comparison"),
    ("demo",),
    ("cli", "__main__"),
)


def file_of(module: str) -> Path | None:
    """The file of a module of ours, or None for others' modules."""
    base = ROOT / ("src" if module.split(".")[0] == "attention_lab" else ".") / module.replace(".", "/")
    if module.split(".")[0] not in ("attention_lab", "pipeline"):
        return None
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


@cache
def imports(path: Path) -> frozenset[Path]:
    """Files of ours that a file imports, anywhere in it, with the packages they are in."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    parents = {".".join(name.split(".")[:depth]) for name in found for depth in range(1, name.count(".") + 1)}
    return frozenset(file for name in found | parents if (file := file_of(name)))


def closure(path: Path) -> set[Path]:
    seen: set[Path] = set()
    todo = {path}
    while todo:
        seen |= todo
        todo = {other for one in todo for other in imports(one)} - seen
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_dvc_watches_the_code_a_stage_runs_and_no_other(stage: str) -> None:
    needed = {str(path.relative_to(ROOT)) for path in closure(ROOT / "pipeline" / f"{stage}.py")}
    needed |= {TEMPLATES[name] for name in needed & TEMPLATES.keys()}
    watched: set[str] = set()
    for name in DVC[stage]["deps"]:
        path = ROOT / name
        if name.startswith(("src/", "pipeline/")):
            inside = [p for p in path.rglob("*") if p.suffix in (".py", ".html")] if path.is_dir() else [path]
            watched |= {str(file.relative_to(ROOT)) for file in inside}
    assert watched == needed


@pytest.mark.parametrize("stage", STAGES)
def test_dvc_watches_the_parameters_a_stage_is_given_and_no_other(stage: str) -> None:
    source = (ROOT / "pipeline" / f"{stage}.py").read_text(encoding="utf-8")
    sections = ast.literal_eval(re.search(r"^SECTIONS = (\(.*\))$", source, re.MULTILINE).group(1))
    assert set(DVC[stage]["params"]) == set(sections)


def test_the_job_that_checks_the_data_runs_every_stage_with_a_gate() -> None:
    from attention_lab.validation import STAGES as GATED

    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (last,) = re.findall(r"dvc repro (\w+)\n\s+git diff", workflow)
    outs = {name: [out if isinstance(out, str) else next(iter(out)) for out in DVC[name]["outs"]] for name in DVC}

    def needed(stage: str) -> set[str]:
        deps = [f"{dep}/" for dep in DVC[stage]["deps"]]
        return {name for name, made in outs.items() for out in made if any(dep.startswith(f"{out}/") for dep in deps)}

    run, todo = set(), {last}
    while todo:
        run |= todo
        todo = {name for stage in todo for name in needed(stage)} - run
    assert set(GATED) <= run


def test_stages_stand_in_their_order() -> None:
    assert tuple(DVC) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_a_thin_command(stage: str) -> None:
    lines = (ROOT / "pipeline" / f"{stage}.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60


def test_imports_go_one_way() -> None:
    level = {name: index for index, names in enumerate(ORDER) for name in names}
    package = ROOT / "src" / "attention_lab"
    for path in package.rglob("*.py"):
        own = path.relative_to(package).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for other in imports(path):
            name = other.relative_to(package).parts[0].removesuffix(".py") if package in other.parents else "pipeline"
            if name in ("__init__", own):
                continue
            assert name != "pipeline", f"{path.name} imports the pipeline"
            assert level[name] <= level[own], f"{own} imports {name}, which stands above it"


def test_mlflow_is_imported_in_two_places() -> None:
    found = {
        path.name
        for path in (ROOT / "src").rglob("*.py")
        if re.search(r"^\s*(import|from) mlflow", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found == {"tracking.py", "serving.py"}


def test_nothing_is_called_by_a_name_that_says_nothing() -> None:
    names = {path.stem for path in (ROOT / "src").rglob("*.py")}
    assert not names & {"utils", "helpers", "common", "misc", "base"}
