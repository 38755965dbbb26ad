"""A copy of the project in a directory of its own, for tests that run the pipeline."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import pytest
import torch
import yaml
from stores import tables
from typer.testing import CliRunner

import pipeline
from attention_lab.cli import commands

ROOT = Path(__file__).parents[2]

STAGES = ("ingest", "clean", "vocab", "split", "encode", "train", "evaluate", "interpret")

# A tiny corpus and a tiny model: seconds instead of minutes, and still better than the trivial baseline.
TINY = {
    "data.size": 300,
    "model.layers": 1,
    "model.width": 32,
    "model.feedforward": 32,
    "train.epochs": 3,
    "train.tokens_per_batch": 500,
    "train.learning_rate": 0.01,
    "train.warmup_steps": 10,
    "evaluate.max_tokens": 24,
    "evaluate.bootstrap": 100,
    "interpret.bootstrap": 100,
    "interpret.examples": 2,
    "interpret.explained_rows": 6,
    "interpret.checked_rows": 4,
    "vocab.max_unknown_share": 1.0,
}


class Project:
    """A working copy: change parameters, run stages, see what they say."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("pipeline", "src", "inputs"):
            shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("params.yaml", "dvc.yaml", ".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, directory / name)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "GIT_AUTHOR_NAME": "test",
            "GIT_AUTHOR_EMAIL": "test@example.org",
            "GIT_COMMITTER_NAME": "test",
            "GIT_COMMITTER_EMAIL": "test@example.org",
        }

    def set(self, **changes: object) -> Project:
        """Change parameters: `set(**{"train.epochs": 3})`."""
        path = self.directory / "params.yaml"
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, value in changes.items():
            *sections, last = name.split(".")
            section = values
            for part in sections:
                section = section[part]
            section[last] = value
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        return self

    def run(self, *command: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.directory, env=self.environment, capture_output=True, text=True, timeout=280, check=False
        )
        assert bool(done.returncode) == fails, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def stage(self, name: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", f"pipeline.{name}", fails=fails)

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """This process in the working copy, as one that begins there; it has imported libraries already."""
        precision = torch.get_float32_matmul_precision()
        try:
            # MLflow tells processes that it may start by the environment where it writes: those of another project.
            with contextlib.chdir(self.directory), mock.patch.dict(os.environ):
                os.environ.pop("MLFLOW_TRACKING_URI", None)
                yield
        finally:
            torch.set_float32_matmul_precision(precision)

    def stages(self, names: Sequence[str]) -> None:
        """Stages one after the other in this process."""
        store = self.directory / "mlflow.db"
        if "train" in names and not store.exists():
            store.write_bytes(tables())
        with self.here():
            for name in names:
                app = importlib.import_module(f"pipeline.{name}").app
                with pytest.raises(SystemExit) as end:
                    pipeline.run(lambda app=app: app([]), name)
                assert not end.value.code, f"{name} ended with {end.value.code}"

    def program(self, *arguments: str) -> str:
        """What `attention-lab` prints, in this process."""
        with self.here():
            done = CliRunner().invoke(commands, arguments)
        if done.exception is not None:
            raise done.exception
        return done.stdout

    def refusal(self, stage: str = "ingest") -> str:
        """What a stage says when it refuses: exit code 1 and one line. It runs in this process, as the code of a
        working copy is that of the project."""
        said = io.StringIO()
        app = importlib.import_module(f"pipeline.{stage}").app
        with contextlib.chdir(self.directory), contextlib.redirect_stderr(said), pytest.raises(SystemExit) as end:
            pipeline.run(lambda: app([]), stage)
        assert end.value.code == 1
        lines = [line for line in said.getvalue().strip().splitlines() if line]
        assert len(lines) == 1, lines
        return lines[0]

    def write(self, name: str, content: str | bytes) -> str:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    def read(self, name: str) -> dict:
        """A file of metrics."""
        return json.loads((self.directory / name).read_text(encoding="utf-8"))

    def runs(self) -> list[dict[str, str]]:
        """Status, tags, parameters and metrics of every MLflow run."""
        with sqlite3.connect(self.directory / "mlflow.db") as store:
            found = store.execute("select run_uuid, status from runs").fetchall()
            return [
                {"status": status}
                | {
                    key: value
                    for table in ("tags", "params", "latest_metrics")
                    for key, value in store.execute(f"select key, value from {table} where run_uuid = ?", (run,))
                }
                for run, status in found
            ]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path).set(**TINY)


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    return lambda name: Project(tmp_path_factory.mktemp(name)).set(**TINY)
