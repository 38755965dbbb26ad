"""Stage 5: turn records into numbers."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import run

SECTIONS = ("task", "encode")
app = typer.Typer(add_completion=False)


@app.command()
def encode(
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
    split: Annotated[Path, typer.Option(help="What split has written.")] = Path("data/split"),
    vocab: Annotated[Path, typer.Option(help="What vocab has written.")] = Path("data/vocab"),
    output: Annotated[Path, typer.Option(help="Where the encoded parts go.")] = Path("data/encoded"),
    gates: Annotated[Path, typer.Option(help="Where the gate's result goes.")] = Path("metrics/validation"),
) -> None:
    """Turn texts into token ids and labels into numbers.

    \b
    params.yaml  task encode ─┐          ┌─ data/encoded/train.arrow, valid.arrow, test.arrow
    data/split, data/vocab ───┴─ encode ─┼─ data/encoded/*.overflowed.parquet            rows dropped for their length
                                         ├─ metrics/validation/encode.json
                                         └─ metrics/validation/index.html     all gates so far, for people
    Gate: ids within the vocabulary, truncated share within bounds, round trip to the text.
    """
    from attention_lab import encoding, expectations, records, validation, vocabulary
    from attention_lab.params import load

    options = load(params, *SECTIONS)
    shape = records.SHAPES[options.task]
    tokenizer, of_target, labels = vocabulary.load(vocab), vocabulary.load_target(vocab), vocabulary.load_labels(vocab)
    parts = {name: records.read(split / f"{name}.parquet", shape) for name in records.SPLITS}
    encoded, overflowed = {}, {}
    for name, part in parts.items():
        encoded[name], overflowed[name] = encoding.encode(part, shape, tokenizer, labels, options.encode, of_target)
        encoding.write(encoded[name], output / f"{name}.arrow")
        records.write(overflowed[name], output / f"{name}.overflowed.parquet")
    found = expectations.check_encode(encoded, overflowed, parts, tokenizer, labels, shape, options.encode, of_target)
    validation.publish(found, gates)
    said = []
    for name, windows in encoded.items():
        rows = windows["row"].nunique()
        said.append(f"{rows:,} {name}" + f" in {len(windows):,} windows" * (len(windows) > rows))
    typer.echo(f"encode: {', '.join(said)}")


if __name__ == "__main__":
    run(app, "encode")
