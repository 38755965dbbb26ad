"""Stage 4: divide the records."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import run

SECTIONS = ("seed", "task", "split")
app = typer.Typer(add_completion=False)


@app.command()
def split(
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
    clean: Annotated[Path, typer.Option(help="What clean has written.")] = Path("data/clean"),
    output: Annotated[Path, typer.Option(help="Where the three parts go.")] = Path("data/split"),
    gates: Annotated[Path, typer.Option(help="Where the gate's result goes.")] = Path("metrics/validation"),
) -> None:
    """Divide the records into training, validation and test rows; a row's place depends on its text alone.

    \b
    params.yaml  seed task split ─┐         ┌─ data/split/train.parquet, valid.parquet, test.parquet
    data/clean/kept.parquet ──────┴─ split ─┴─ metrics/validation/split.json
    Gate: kept = train + valid + test, no text in two parts, label shares.
    """
    from attention_lab import expectations, records, splitting, validation
    from attention_lab.params import load

    options = load(params, *SECTIONS)
    shape = records.SHAPES[options.task]
    kept = records.read(clean / "kept.parquet", shape)
    where = splitting.assign(kept, shape, options.split, options.seed)
    parts = {name: kept[where == name].reset_index(drop=True) for name in records.SPLITS}
    for name, part in parts.items():
        records.write(part, output / f"{name}.parquet")
    validation.publish(expectations.check_split(kept, parts, shape, options.split), gates)
    typer.echo("split: " + ", ".join(f"{len(part):,} {name}" for name, part in parts.items()))


if __name__ == "__main__":
    run(app, "split")
