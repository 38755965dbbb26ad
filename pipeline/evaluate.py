"""Stage 7: measure the model."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import run

SECTIONS = ("seed", "task", "evaluate")
app = typer.Typer(add_completion=False)


@app.command()
def evaluate(
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
    model: Annotated[Path, typer.Option(help="What train has written.")] = Path("data/model"),
    encoded: Annotated[Path, typer.Option(help="What encode has written.")] = Path("data/encoded"),
    split: Annotated[Path, typer.Option(help="What split has written.")] = Path("data/split"),
    output: Annotated[Path, typer.Option(help="Where predictions go.")] = Path("data/predictions"),
    metrics: Annotated[Path, typer.Option(help="Where metrics and plots go.")] = Path("metrics"),
) -> None:
    """Predict a split and measure it, with 95 % intervals, beside the trivial and the classical baseline.

    \b
    params.yaml  seed task evaluate ────────┐            ┌─ data/predictions/predictions.parquet, .jsonl
    data/model, data/encoded, data/split ───┴─ evaluate ─┼─ metrics/evaluate.json
                                                         └─ metrics/plots/evaluation: evaluation.png, of classes
                                                            confusion.csv
    """
    from attention_lab import evaluation, plots, records, tracking
    from attention_lab import metrics as numbers
    from attention_lab.params import load, record
    from attention_lab.tasks import in_full

    options = load(params, *SECTIONS)
    shape = records.SHAPES[options.task]
    parts = {name: records.read(split / f"{name}.parquet", shape) for name in ("train", options.evaluate.split)}
    predictor = evaluation.Trained(model, options.task)
    with tracking.run_of(model, in_full(record(params), predictor.model.config), "evaluate") as log:
        predictions = evaluation.predict(predictor, encoded, parts[options.evaluate.split], shape, options.evaluate)
        found = evaluation.measure(predictor, predictions, parts["train"], options.evaluate, options.seed)
        records.write(predictions, output / "predictions.parquet")
        records.write_lines(predictions, output / "predictions.jsonl")
        numbers.write(found, metrics / "evaluate.json")
        plots.evaluation(found, predictions, shape, metrics / "plots" / "evaluation")
        log.result("evaluate", found)
        log.artifacts(metrics / "plots" / "evaluation", folder="plots")
        log.artifacts(output, folder="predictions")
    rows = f"{len(predictions):,} example{'s' * (len(predictions) != 1)}"
    typer.echo(f"evaluate: {found['score_name']} {found['score']:.4g} on {rows}")


if __name__ == "__main__":
    run(app, "evaluate")
