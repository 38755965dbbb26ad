"""What stands in the guide can be run: blocks of Python as they are, commands as far as their parser, and further where
that takes no training."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import typer
import yaml
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from guide_pages import PAGES, PROGRAMS, README, ROOT, WRITTEN, blocks, commands, overrides
from test_models import config
from typer.testing import CliRunner

from attention_lab import cli, params, vocabulary
from attention_lab.attention import mechanism
from attention_lab.transformer import build, save

# Commands that end, and need no more than a model and its metrics.
TRAINED = {"explain", "mechanisms", "predict", "summary"}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT)).removeprefix("docs/")


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the pipeline has run, as far as commands can see; its model has random weights."""
    words = params.load(ROOT / "params.yaml").vocab.model_copy(update={"min_frequency": 1})
    tokenizer = vocabulary.train(["The old dog sees the cat."], words, None)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # of other random weights some say nothing at all
        save(build(config(task="translation", vocabulary=len(tokenizer))), tmp_path / "data" / "model")
    vocabulary.save(tokenizer, tmp_path / "data" / "model")
    listed = tmp_path / "data" / "attributions" / "attributions.jsonl.gz"
    listed.parent.mkdir()
    scores = {"words": ["a", "b", "c"], "outputs": ["d", "e"], "scores": [[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]]}
    listed.write_bytes(
        gzip.compress(json.dumps({"row": "a:1", "of": "reference", "method": "alti", "place": None, **scores}).encode())
    )
    shutil.copytree(ROOT / "metrics", tmp_path / "metrics")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_on_a_page_runs(page: Path, trained: Path) -> None:
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


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_experiments_on_a_page_are_taken(page: Path, tmp_path: Path) -> None:
    for words in commands(page):
        if words[:3] == ["dvc", "exp", "run"] and "-S" in words:
            experiment(words, tmp_path)


def test_an_experiment_with_a_misspelt_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="set-param"):
        experiment(["dvc", "exp", "run", "-S", "attention.mecanism=additive"], tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_on_a_page_are_there(page: Path) -> None:
    """Each parses with its options, and runs nothing; files that are named exist."""
    for program, *rest in commands(page):
        assert program in PROGRAMS
        if program in ("attention-lab", "mlflow"):
            parse(program, rest)
        elif program == "dvc":
            get_main_parser().parse_args(rest)
        elif program == "make":
            assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        elif program == "python" and rest[0] == "-m":
            assert importlib.util.find_spec(rest[1])
        elif program == "cp" and rest[0] == "-r":  # a folder that a stage makes
            stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
            assert rest[1] in [out for stage in stages for out in stage["outs"]]
        elif program in ("cp", "pytest", "python"):
            assert (ROOT / rest[0]).is_file()


def parse(program: str, words: list[str]) -> None:
    """Go down a tree of click's commands, as far as the options of the last."""
    if program == "mlflow":
        from mlflow.cli import cli as command
    else:
        command = typer.main.get_command(cli.commands)
    while hasattr(command, "commands"):
        name, *words = words
        command = command.get_command(command.context_class(command), name)  # mlflow's has aliases
    command.make_context(name, words)


def test_a_misspelt_command_is_refused() -> None:
    with pytest.raises(DvcParserError):
        get_main_parser().parse_args(["exp", "rnu"])
    with pytest.raises(DvcParserError):
        get_main_parser().parse_args(["repro", "--frce"])
    for program, words in (("mlflow", ["ui", "--prot", "1"]), ("attention-lab", ["predict", "--bst", "3"])):
        with pytest.raises(Exception, match="No such option"):
            parse(program, words)


def test_commands_of_the_front_page_run(trained: Path) -> None:
    run = [words for words in commands(README) if words[0] == "attention-lab" and words[1] in TRAINED]
    assert {words[1] for words in run} == TRAINED
    for words in run:
        found = CliRunner().invoke(cli.commands, words[1:])
        assert found.exit_code == 0, (words, found.output)
        assert found.stdout.strip()
