"""The stages of the pipeline, one thin command each; `python -m pipeline --help` lists them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

# A queued experiment runs in a copy of the project, and an installed attention_lab would be that of the main
# workspace: the code that was edited since would run in place of the code that was queued.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

# Experiments of a queue run side by side in copies of the project and share the cores. There a thread that waits has
# to sleep: spinning, as OpenMP does by default, two trainings of two threads each on two cores take five times as long.
if Path(os.environ.get("DVC_ROOT", ".")).resolve() != Path.cwd():
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def run(command: Callable[[], object], stage: str) -> None:
    """Run a stage's command: a user's mistake is one sentence on standard error and exit code 1."""
    from attention_lab.errors import InputError

    try:
        command()
    except InputError as error:
        print(f"{stage}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
