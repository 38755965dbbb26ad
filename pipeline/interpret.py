"""Stage 8: look into the model."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import run

SECTIONS = ("seed", "task", "interpret")
app = typer.Typer(add_completion=False)


@app.command()
def interpret(
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
    model: Annotated[Path, typer.Option(help="What train has written.")] = Path("data/model"),
    encoded: Annotated[Path, typer.Option(help="What encode has written.")] = Path("data/encoded"),
    split: Annotated[Path, typer.Option(help="What split has written.")] = Path("data/split"),
    predictions: Annotated[Path, typer.Option(help="What evaluate has written.")] = Path("data/predictions"),
    attributions: Annotated[Path, typer.Option(help="Where the scores of each word go.")] = Path("data/attributions"),
    metrics: Annotated[Path, typer.Option(help="Where metrics, plots and report go.")] = Path("metrics"),
) -> None:
    """Show where the model looked, and measure it against what is known to matter.

    \b
    params.yaml  seed task interpret ──────┐             ┌─ metrics/interpret.json
    data/model, data/encoded, data/split ──┼─ interpret ─┼─ metrics/plots/attention/*.png
    data/predictions, metrics/evaluate.json┘             ├─ metrics/report.html   opens offline
                                                         └─ data/attributions/attributions.jsonl.gz
    """
    from attention_lab import interpretation, records, tracking
    from attention_lab import metrics as numbers
    from attention_lab.explanation import page
    from attention_lab.params import load, record

    options = load(params, *SECTIONS)
    measured = numbers.read(metrics / "evaluate.json", "evaluate")
    with tracking.run_of(model, record(params), "interpret") as log:
        found, shown = interpretation.run(options, model, encoded, split, predictions)
        report = page.report(shown, measured, model, options.interpret.beside)
        numbers.write(found.metrics, metrics / "interpret.json")
        pictures = metrics / "plots" / "attention"
        pictures.mkdir(parents=True, exist_ok=True)  # DVC wants it, though there may be no example to draw
        for name, picture in found.plots.items():
            records.write_bytes(picture, pictures / f"{name}.png")
        records.write_bytes(report.encode(), metrics / "report.html")
        records.write_bytes(found.listing, attributions / "attributions.jsonl.gz")
        log.result("interpret", found.metrics)
        log.artifacts(pictures, folder="plots")
        log.artifacts(metrics / "report.html", metrics / "interpret.json")
        log.artifacts(predictions, folder="predictions")
    typer.echo("interpret: " + "; ".join(found.metrics["sentences"]))


if __name__ == "__main__":
    run(app, "interpret")
