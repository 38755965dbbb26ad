"""What stands in the guide can be run: blocks of Python as they are, commands as far as their parser."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
import typer
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from guide_pages import DOCS, ROOT, WRITTEN, blocks, commands, overrides

from attention_lab import cli, params
from attention_lab.attention import mechanism

PROGRAMS = {"attention-lab", "cd", "curl", "dvc", "git", "make", "mlflow", "python"}


def name(page: Path) -> str:
    return str(page.relative_to(DOCS))


@pytest.mark.parametrize("page", [page for page in WRITTEN if blocks(page, "python")], ids=name)
def test_python_on_a_page_runs(page: Path) -> None:
    """Blocks of one page follow on one another."""
    shared: dict[str, object] = {"__name__": "page"}
    with torch.random.fork_rng(devices=[]):
        for line, block in blocks(page, "python"):
            # Lines of a failure are those of the page.
            exec(compile("\n" * line + block, str(page), "exec", dont_inherit=True), shared)


def test_there_is_python_that_would_fail() -> None:
    assert sum(block.count("assert ") for page in WRITTEN for _, block in blocks(page, "python")) > 15


def experiment(words: list[str], folder: Path) -> None:
    """Set what a command sets in a copy of params.yaml, each point of a grid by itself, and read it as a stage does."""
    for point in get_hydra_sweeps({"params.yaml": overrides(words)}):
        copied = Path(shutil.copy(ROOT / "params.yaml", folder))
        apply_overrides(copied, point["params.yaml"])
        attention = params.load(copied).attention
        mechanism(attention.mechanism, attention.options)
        for own in (attention.encoder_self, attention.decoder_self, attention.cross):
            if own is not None:
                mechanism(own) if isinstance(own, str) else mechanism(own.mechanism, own.options)


@pytest.mark.parametrize("page", [*WRITTEN, ROOT / "README.md"], ids=lambda page: page.stem + page.parent.name)
def test_experiments_on_a_page_are_taken(page: Path, tmp_path: Path) -> None:
    for words in commands(page):
        if words[:3] == ["dvc", "exp", "run"] and "-S" in words:
            experiment(words, tmp_path)


def test_an_experiment_with_a_misspelt_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="set-param"):
        experiment(["dvc", "exp", "run", "-S", "attention.mecanism=additive"], tmp_path)


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_commands_on_a_page_are_there(page: Path) -> None:
    ours = typer.main.get_command(cli.commands)
    for program, *rest in commands(page):
        assert program in PROGRAMS
        if program == "attention-lab":
            ours.commands[rest[0]].make_context(rest[0], rest[1:])  # parses, and runs nothing
        elif program == "make":
            assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        elif program == "python":
            assert (ROOT / rest[0]).is_file()
