"""How well every mechanism translates the embedded corpus: the pipeline itself, once for each row of the catalogue.

    python benchmarks/quality.py queue                       an experiment for each row
    dvc queue start -j 2                                     run them, two at a time
    python benchmarks/quality.py table                       the finished ones, from MLflow, as a table

Where a mechanism is not valid, scaled dot-product stands in: the column "in" says where the mechanism itself is. The
corpus is made by a grammar, so scores show that and how fast a mechanism learns to align and to reorder, not how well
it would do on another text. The interval is over test sentences, of one training each: two trainings that differ in
their seed alone differ too.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Annotated, Any

import mlflow
import typer
import yaml

from attention_lab.attention import CATALOGUE

# What the table was measured with: fewer rows than the default of today has, and dropout, which it has not.
SETTING = (
    *("data.size=12000", "model.dropout=0.1"),
    *("train.epochs=8", "train.tokens_per_batch=500", "train.learning_rate=2.0e-3", "train.warmup_steps=100"),
    "train.word_dropout=0.0",
)
MEASURED = Path(__file__).parent.parent / "docs" / "measured"
LETTERS = {"encoder_self": "encoder", "decoder_self": "decoder", "cross": "cross"}
app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.command()
def queue(
    names: Annotated[str, typer.Option(help="Mechanisms, with commas; all: every row.")] = "all",
) -> None:
    """Queue an experiment for each mechanism."""
    wanted = ",".join(CATALOGUE) if names == "all" else names
    values = (*SETTING, f"attention.mechanism={wanted}")
    subprocess.run(["dvc", "exp", "run", "--queue", *(word for value in values for word in ("-S", value))], check=True)


@app.command()
def table(
    store: Annotated[str, typer.Option(help="MLflow's store.")] = "sqlite:///mlflow.db",
    output: Annotated[Path, typer.Option(help="Where quality.json and quality.md go.")] = MEASURED,
) -> None:
    """The newest evaluated run of each mechanism that `queue` could have queued, as JSON and as a table.

    What the output folder says of mechanisms without such a run stays.
    """
    mlflow.set_tracking_uri(store)
    found: dict[str, dict[str, Any]] = {}
    for run in mlflow.search_runs(search_all_experiments=True, order_by=["start_time DESC"], output_format="list"):
        row, metrics = run.data.params.get("attention.mechanism"), run.data.metrics
        if row in CATALOGUE and row not in found and "evaluate.score" in metrics and in_setting(run.data.params):
            found[row] = {
                "bleu": metrics["evaluate.bleu"],
                "low": metrics["evaluate.score_low"],
                "high": metrics["evaluate.score_high"],
                "alignment_error_rate": metrics.get("interpret.alignment.error_rate"),
                "valid_loss": metrics["train.valid_loss"],
                "seconds": metrics["train.seconds"],
                "peak_memory_mb": metrics["train.peak_memory_mb"],
                "parameters": metrics["train.parameters"],
            }
    if not found:
        raise SystemExit(f"{store}: no run of `queue` there has been evaluated; queue and run the experiments first")
    output.mkdir(parents=True, exist_ok=True)
    before = json.loads((output / "quality.json").read_text()) if (output / "quality.json").is_file() else {}
    found = {**{name: run for name, run in before.items() if name in CATALOGUE}, **found}
    (output / "quality.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    text = markdown(found)
    (output / "quality.md").write_text(text + "\n")
    typer.echo(text)


def in_setting(params: dict[str, str]) -> bool:
    """Was a run made with SETTING, in translation? Another one of the same mechanism says nothing here."""
    wanted = dict(value.split("=") for value in ("task=translation", "attention.options={}", *SETTING))
    return all(yaml.safe_load(params.get(name, "")) == yaml.safe_load(value) for name, value in wanted.items())


def markdown(found: dict[str, dict[str, Any]]) -> str:
    """A line for each mechanism, best first."""
    lines = ["| mechanism | in | BLEU | 95 % | alignment error | valid loss | train, s | peak memory, MB |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|---:|")
    for name, run in sorted(found.items(), key=lambda item: -item[1]["bleu"]):
        places = CATALOGUE[name].places
        where = "everywhere" if len(places) == len(LETTERS) else ", ".join(LETTERS[place] for place in places)
        aligned = run["alignment_error_rate"]
        lines.append(
            f"| {name} | {where} | {run['bleu']:.1f} | {run['low']:.1f} to {run['high']:.1f} "
            f"| {'' if aligned is None else f'{aligned:.2f}'} | {run['valid_loss']:.3f} "
            f"| {run['seconds']:.0f} | {run['peak_memory_mb']:.0f} |"
        )
    missing = [name for name in CATALOGUE if name not in found]
    return "\n".join(lines) + (f"\n\nNot run: {', '.join(missing)}." if missing else "")


if __name__ == "__main__":
    app()
