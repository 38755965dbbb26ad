"""How mechanisms score on the tasks, and how far each method can be believed where the truth is known.

    python benchmarks/interpretation.py queue   queue the experiments
    dvc queue start -j 2                        run them, two at a time
    python benchmarks/interpretation.py table   show finished ones, from MLflow

There is an experiment for each mechanism, seed and task with a known truth. The tables include earlier results.
Other tasks can be named: `queue --seeds 1 --tasks summarization,generation` evaluates them without interpreting them.
Each figure is a mean over trainings that differ in their seed, with a 95 % interval (Student's t). The seed determines
the weights, the order of batches and the embedded rows. Where a method is not defined for a mechanism, there is no
figure. The controls random, constant and position do not see the model, and the oracle is the known truth. A method
that is no better than the former, or far from the latter, is not to be believed there.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

import mlflow
import pandas as pd
import typer

from attention_lab.comparison import margin

MEASURED = Path(__file__).parent.parent / "docs" / "measured"
MECHANISMS = "scaled_dot_product,additive,general,shaw,talking_heads,differential,sigmoid,linear"
TASKS = "translation,sentiment"
# Fewer rows than by default, each seen more often, so that all runs together take two hours; and positions as they were
# by default when the tables were measured.
SHORT = ("data.size=10000", "train.epochs=6", "attention.options={}", "model.position=rotary")
METHODS = (
    *("weights", "norm", "rollout", "norm_rollout", "alti", "value_zeroing"),
    *("integrated_gradients", "gradient_x_input", "gradient_x_attention", "occlusion"),
    *("random", "constant", "position", "oracle"),
)
# What is reported for each task: agreement with the known truth, then what hiding words does to the prediction.
MEASURES = {
    "translation": ("alignment_error_rate", "comprehensiveness", "sufficiency"),
    "sentiment": ("average_precision", "comprehensiveness", "sufficiency"),
}
SCORES = {
    "translation": "BLEU",
    "summarization": "ROUGE-1",
    "question_answering": "F1",
    "generation": "character probability",
    "sentiment": "accuracy",
    "multi_label": "micro F1",
}
KEY = ["task", "mechanism", "seed"]
GATES = ("permuted_weights", "uniform_weights", "completeness", "randomised_model")
app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.command()
def queue(
    mechanisms: Annotated[str, typer.Option(help="Mechanisms of the catalogue, separated by commas.")] = MECHANISMS,
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "1,2,3",
    tasks: Annotated[str, typer.Option(help="Tasks, separated by commas.")] = TASKS,
) -> None:
    """Queue the experiments."""
    for task in tasks.split(","):
        values = (f"task={task}", f"attention.mechanism={mechanisms}", f"seed={seeds}", *SHORT)
        targets = () if task in MEASURES else ("evaluate",)
        sets = [argument for value in values for argument in ("-S", value)]
        subprocess.run(["dvc", "exp", "run", "--queue", *sets, *targets], check=True)


@app.command()
def table(
    store: Annotated[str, typer.Option(help="Tracking URI of the MLflow store.")] = "sqlite:///mlflow.db",
    output: Annotated[Path, typer.Option(help="Folder for interpretation.csv and .md.")] = MEASURED,
) -> None:
    """Write the newest finished run of each mechanism, seed and task, figure by figure and as tables.

    The file keeps its figures of other mechanisms, seeds and tasks.
    """
    found = collected(store)
    if found.empty:
        raise SystemExit(f"{store}: no run there has been interpreted or scored; queue and run the experiments first")
    output.mkdir(parents=True, exist_ok=True)
    if (path := output / "interpretation.csv").exists():
        before = pd.read_csv(path, dtype={"seed": str})
        kept = ~before.set_index(KEY).index.isin(found.set_index(KEY).index)
        found = pd.concat([before[kept], found]).sort_values([*KEY, "name"], ignore_index=True)
    found.to_csv(path, index=False)
    text = markdown(found)
    (output / "interpretation.md").write_text(text + "\n")
    typer.echo(text)


def collected(store: str) -> pd.DataFrame:
    """One row per figure of the newest runs with the values of `queue`: task, mechanism, seed, name (as in
    metrics/interpret.json) and value."""
    told = {f"interpret.gates.{gate}.value" for gate in GATES} | {"evaluate.score"}
    told |= {f"interpret.methods.{method}.{measure}" for method in METHODS for measure in sum(MEASURES.values(), ())}
    mlflow.set_tracking_uri(store)
    lines: dict[tuple[str, str, str], dict[str, float]] = {}
    for run in mlflow.search_runs(search_all_experiments=True, order_by=["start_time DESC"], output_format="list"):
        of, metrics = run.data.params, run.data.metrics
        chosen = of.get("task", ""), of.get("attention.mechanism", ""), of.get("seed", "")
        short = all(of.get(name) == value for name, value in (one.split("=") for one in SHORT))
        last = "interpret.methods.random.comprehensiveness" if chosen[0] in MEASURES else "evaluate.score"
        if short and chosen[0] in SCORES and chosen not in lines and last in metrics:
            lines[chosen] = {name: round(value, 4) for name, value in metrics.items() if name in told}
    rows = [(*key, name, value) for key, values in sorted(lines.items()) for name, value in sorted(values.items())]
    return pd.DataFrame(rows, columns=[*KEY, "name", "value"])


def between(values: pd.Series, digits: int = 2) -> str:
    """Mean and half the 95 % interval over seeds, e.g. `0.06 ± 0.01`; a single seed has no interval."""
    mean = f"{values.mean():.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {margin(values.to_numpy()):.{digits}f}"


def ordered(mechanisms: pd.Series) -> list[str]:
    there = set(mechanisms)
    names = [name for name in MECHANISMS.split(",") if name in there]
    return names + sorted(there - set(names))


def scored(found: pd.DataFrame) -> str:
    """Mechanisms × tasks."""
    part = found[found["name"] == "evaluate.score"]
    figures = {key: group["value"] for key, group in part.groupby(["mechanism", "task"])}
    tasks = [task for task in SCORES if task in set(part["task"])]
    lines = [
        "| mechanism | " + " | ".join(f"{task.replace('_', ' ')}, {SCORES[task]}" for task in tasks) + " |",
        "|---|" + "---:|" * len(tasks),
    ]
    for name in ordered(part["mechanism"]):
        cells = [
            between(figures[name, task], 1 if task == "translation" else 3) if (name, task) in figures else ""
            for task in tasks
        ]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "## Scores\n\n" + "\n".join(lines)


def markdown(found: pd.DataFrame) -> str:
    """Mechanisms × tasks; for tasks with a known truth, scores and gates, and methods × mechanisms for each measure."""
    parts = [scored(found)]
    for task, measures in MEASURES.items():
        part = found[found["task"] == task]
        names = ordered(part["mechanism"])
        if not names:
            continue
        figures = {key: group["value"] for key, group in part.groupby(["mechanism", "name"])}

        def row(first: str, name: str, figures: dict[object, pd.Series] = figures, names: list[str] = names) -> str:
            cells = [between(figures[key]) if (key := (one, name)) in figures else "" for one in names]
            return f"| {first} | {' | '.join(cells)} |" if any(cells) else ""

        head = f"| {{}} | {' | '.join(names)} |\n|---|{'---:|' * len(names)}"
        lines = [row(SCORES[task], "evaluate.score"), *(row(gate, f"interpret.gates.{gate}.value") for gate in GATES)]
        parts.append(f"## {task}\n\n" + "\n".join([head.format("score and gates"), *filter(None, lines)]))
        for measure in measures:
            lines = [row(method, f"interpret.methods.{method}.{measure}") for method in METHODS]
            parts.append("\n".join([head.format(measure.replace("_", " ")), *filter(None, lines)]))
    return "\n\n".join(parts)


if __name__ == "__main__":
    app()
