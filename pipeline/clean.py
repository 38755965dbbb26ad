"""Stage 2: clean the records."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import run

SECTIONS = ("task", "clean")
app = typer.Typer(add_completion=False)


@app.command()
def clean(
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
    raw: Annotated[Path, typer.Option(help="What ingest has written.")] = Path("data/raw"),
    output: Annotated[Path, typer.Option(help="Where kept and rejected records go.")] = Path("data/clean"),
    counts: Annotated[Path, typer.Option(help="Where the counts go.")] = Path("metrics/clean.json"),
    gates: Annotated[Path, typer.Option(help="Where the gate's result goes.")] = Path("metrics/validation"),
) -> None:
    """Normalise the texts and set aside what is empty, too long, repeated or contradictory.

    \b
    params.yaml  task clean ─┐         ┌─ data/clean/kept.parquet
    data/raw ────────────────┴─ clean ─┼─ data/clean/rejected.parquet   every rejected row, with its reason
                                       ├─ metrics/clean.json            rows by reason
                                       └─ metrics/validation/clean.json
    Gate: raw = kept + rejected, no empty text, lengths in bounds, label set.
    """
    from attention_lab import cleaning, expectations, metrics, records, validation
    from attention_lab.params import load

    options = load(params, *SECTIONS)
    shape = records.SHAPES[options.task]
    frame = records.read(raw / "records.parquet", shape)
    kept, rejected = cleaning.clean(frame, shape, options.clean)
    records.write(kept, output / "kept.parquet")
    records.write(rejected, output / "rejected.parquet")
    found = cleaning.counts(kept, rejected)
    metrics.write(found, counts)
    validation.publish(expectations.check_clean(frame, kept, rejected, shape, options.clean), gates)
    typer.echo("clean: " + ", ".join(f"{rows:,} {name}" for name, rows in found.items()))
    if lost := cleaning.without_gold(frame, kept, shape):
        typer.echo(
            f"clean: kept rows that lose their {shape.gold}, because cleaning divides their texts into other words: "
            f"{lost:,}; separate words by single spaces, without punctuation if clean.remove_punctuation is true"
        )


if __name__ == "__main__":
    run(app, "clean")
