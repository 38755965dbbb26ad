"""Curves and tables for `dvc plots`, and the same as PNG, for DVC's own pages load their library from the network."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from attention_lab.metrics import rounded
from attention_lab.records import Shape, replaced, write_bytes


def training(
    train: list[dict[str, float]], valid: list[dict[str, float]], pretrain: list[dict[str, float]], directory: Path
) -> None:
    """training.csv (a row every few steps), validation.csv (a row an epoch) and training.png; of a training that had a
    pre-training pretraining.csv too (a row an epoch)."""
    curves = {"training": train, "validation": valid} | ({"pretraining": pretrain} if pretrain else {})
    for name, rows in curves.items():
        frame = pd.DataFrame([{key: rounded(value) for key, value in row.items()} for row in rows])
        frame["step"] = frame["step"].astype(int)
        write_bytes(frame.to_csv(index=False, lineterminator="\n").encode(), directory / f"{name}.csv")
    figure = Figure(figsize=(10, 3), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for axes, column, title in ((loss, "loss", "loss (nats)"), (accuracy, "accuracy", "accuracy")):
        axes.plot([p["step"] for p in train], [p[column] for p in train], label="training", color="0.6")
        axes.plot([p["step"] for p in valid], [p[f"valid_{column}"] for p in valid], label="validation", marker=".")
        axes.set_title(title)
        axes.legend()
    rate.plot([p["step"] for p in train], [p["learning_rate"] for p in train], color="0.3")
    rate.set_title("learning rate")
    for axes in (loss, accuracy, rate):
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
    picture(figure, directory / "training.png")


def evaluation(found: dict[str, Any], predictions: pd.DataFrame, shape: Shape, directory: Path) -> None:
    """The confusion matrix of classes as confusion.csv and evaluation.png; for all else the score beside the baselines.

    Args:
        found: the content of metrics/evaluate.json.
    """
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    if "confusion" in found:
        pairs = pd.DataFrame({"actual": predictions[shape.label], "predicted": predictions["prediction"]})
        write_bytes(pairs.to_csv(index=False, lineterminator="\n").encode(), directory / "confusion.csv")
        names = list(found["confusion"])
        counts = [[found["confusion"][row][column] for column in names] for row in names]
        most = max(max(line) for line in counts)
        axes.imshow(counts, cmap="Blues")
        for row, values in enumerate(counts):
            for column, value in enumerate(values):
                dark = value > most / 2
                axes.text(column, row, f"{value:,}", ha="center", va="center", color="white" if dark else "black")
        axes.set_xticks(range(len(names)), names, rotation=90 if len(names) > 4 else 0)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("predicted")
        axes.set_ylabel("actual")
    else:
        name = found["score_name"]
        others = [found[kind] for kind in ("baseline", "classical") if kind in found]
        names = [textwrap.fill(other["what"], 18) for other in others]
        axes.bar(names, [other[name] for other in others], color="0.7")
        axes.bar(["model"], [found["score"]], color="C0")
        if found["score_low"] is not None:
            ends = [[max(0, found["score"] - found["score_low"])], [max(0, found["score_high"] - found["score"])]]
            axes.errorbar(["model"], [found["score"]], yerr=ends, color="black", capsize=6)
        axes.set_ylabel(name)
    axes.set_title(f"{found['examples']:,} {found['split']} examples")
    picture(figure, directory / "evaluation.png")


def picture(figure: Figure, path: Path) -> None:
    """Save as PNG, the same bytes for the same figure."""
    with replaced(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
