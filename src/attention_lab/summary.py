"""What a person wants to know after `dvc repro`, from the metrics it has written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attention_lab.errors import InputError
from attention_lab.records import read_json

# MLflow's own start page is for traces of language models; this is the table of runs.
RUNS = "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning"


def describe(metrics: Path) -> str:
    """A few lines of text.

    Raises:
        InputError: the pipeline has not run.
    """
    train, evaluate, interpret = (_read(metrics / f"{name}.json") for name in ("train", "evaluate", "interpret"))
    name, low, high = (evaluate[key] for key in ("score_name", "score_low", "score_high"))
    rows = f"{evaluate['examples']:,} {evaluate['split']} example{'s' * (evaluate['examples'] != 1)}"
    between = "no interval: a single example" if low is None else f"95 % interval {low:.4g} to {high:.4g}"
    lines = [
        f"{evaluate['task']} with {evaluate['attention']['mechanism']} attention, "
        f"{train['parameters']:,} parameters, {train['steps']:,} steps",
        f"  {name} on {rows}: {evaluate['score']:.4g} ({between})",
    ]
    for kind in ("baseline", "classical"):
        if kind in evaluate:
            lines.append(f"  {kind} ({evaluate[kind]['what']}): {evaluate[kind][name]:.4g}")
    mechanisms = re.split("[ ,:]+", evaluate["attention"]["mechanism"])
    if interpret.get("task") == evaluate["task"] and interpret.get("mechanism") in mechanisms:
        lines += [f"  {sentence}" for sentence in interpret["sentences"]]
    else:
        lines.append("  the findings on attention are those of an earlier model; `dvc repro` updates them")
    lines += [
        "",
        f"report       {metrics / 'report.html'}",
        f"data gates   {metrics / 'validation' / 'index.html'}",
        f"runs         mlflow ui --backend-store-uri sqlite:///mlflow.db, then {RUNS}",
    ]
    return "\n".join(lines)


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise InputError(f"{path} is missing; run `dvc repro` first")
    return read_json(path)
