"""Several processes: they all run, and a failure ends in one sentence of the launcher's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from attention_lab import processes

SRC = Path(__file__).parents[2] / "src"
WORKER = """
import os, sys
from pathlib import Path
from attention_lab import processes
from attention_lab.errors import InputError

try:
    if not processes.launched(int(sys.argv[2]), "worker"):
        if os.environ.get("RANK") == sys.argv[3]:
            raise InputError("the worker's own sentence")
        name = "helper" if processes.is_helper() else "first"
        (Path(sys.argv[1]) / name).write_text(os.environ.get("WORLD_SIZE", "alone"))
except InputError as error:
    print(error, file=sys.stderr)
    raise SystemExit(1)
"""


def launch(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (directory / "worker.py").write_text(WORKER, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    return subprocess.run(
        [sys.executable, "-m", "worker", str(directory), *arguments],
        cwd=directory, env=environment, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("number", "found"), [(1, {"first": "alone"}), (2, {"first": "2", "helper": "2"})])
def test_as_many_processes_run_as_are_asked_for(tmp_path: Path, number: int, found: dict[str, str]) -> None:
    done = launch(tmp_path, str(number), "nobody")
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.name in ("first", "helper")} == found


def test_a_failure_of_one_process_is_a_sentence(tmp_path: Path) -> None:
    done = launch(tmp_path, "2", "1")
    assert done.returncode == 1
    assert "the worker's own sentence" in done.stderr
    assert "one of 2 processes failed, see above; train.processes=1 trains in a single one" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2, done.stderr


STAYS = """
import os, sys, time
from pathlib import Path
from attention_lab import processes

with processes.alone(Path(sys.argv[1]) / "work"):
    if not processes.launched(2, "worker"):
        (Path(sys.argv[1]) / f"{os.environ['RANK']}.pid").write_text(str(os.getpid()))
        time.sleep(300)
"""


def running(pid: int) -> bool:
    """Is it there, and no zombie?"""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc").exists(), reason="there is no /proc to look at")
def test_processes_end_with_the_one_that_started_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "worker.py").write_text(STAYS, encoding="utf-8")
    command = [sys.executable, "-m", "worker", str(tmp_path)]
    launcher = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(SRC)})
    notes = [tmp_path / f"{rank}.pid" for rank in range(2)]
    deadline = time.monotonic() + 100
    while not all(note.exists() and note.read_text() for note in notes) and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = [int(note.read_text()) for note in notes]
    threading.Timer(1.0, launcher.send_signal, [signal.SIGKILL]).start()
    with processes.alone(tmp_path / "work"):
        assert launcher.wait(timeout=10) == -signal.SIGKILL
    assert "another process is doing this very work; waiting for it to finish" in capsys.readouterr().err
    deadline = time.monotonic() + 20
    while any(map(running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(running, workers))
