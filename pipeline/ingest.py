"""Stage 1: read the data."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import run

SECTIONS = ("seed", "task", "data")
app = typer.Typer(add_completion=False)


@app.command()
def ingest(
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
    output: Annotated[Path, typer.Option(help="Where the records go.")] = Path("data/raw"),
    gates: Annotated[Path, typer.Option(help="Where the gate's result goes.")] = Path("metrics/validation"),
) -> None:
    """Read records from the embedded corpus, a file or the Hugging Face Hub.

    \b
    params.yaml  seed task data ─┐           ┌─ data/raw/records.parquet
    inputs/ or your own files   ─┼─ ingest ──┼─ data/raw/manifest.json      where from, how many, SHA-256
                                             └─ metrics/validation/ingest.json
    Gate: columns, types, row count.
    """
    from attention_lab import expectations, metrics, records, sources, validation
    from attention_lab.params import load

    options = load(params, *SECTIONS)
    shape = records.SHAPES[options.task]
    frame, manifest = sources.load(options.data, shape, options.seed, options.task)
    records.write(frame, output / "records.parquet")
    metrics.write(manifest, output / "manifest.json")
    validation.publish(expectations.check_ingest(frame, shape), gates)
    typer.echo(f"ingest: {len(frame):,} records for {options.task}, source {options.data.source}")


if __name__ == "__main__":
    run(app, "ingest")
