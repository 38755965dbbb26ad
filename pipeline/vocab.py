"""Stage 3: train the tokenizer."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import run

SECTIONS = ("seed", "task", "clean", "vocab", "split")
SHOWN = 10  # labels
app = typer.Typer(add_completion=False)


@app.command()
def vocab(
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
    clean: Annotated[Path, typer.Option(help="What clean has written.")] = Path("data/clean"),
    output: Annotated[Path, typer.Option(help="Where tokenizer and labels go.")] = Path("data/vocab"),
    gates: Annotated[Path, typer.Option(help="Where the gate's result goes.")] = Path("metrics/validation"),
) -> None:
    """Train a tokenizer on the training rows, or one for source and one for target, and list their labels.

    \b
    params.yaml  seed task clean vocab split ─┐         ┌─ data/vocab/tokenizer.json, tokenizer_config.json
    data/clean/kept.parquet ──────────────────┴─ vocab ─┼─ data/vocab/target: the same files   (vocab.shared=false)
                                                        ├─ data/vocab/labels.json
                                                        └─ metrics/validation/vocab.json
    Gate: special tokens present, unknown tokens within bounds, built from training rows only.
    """
    from attention_lab import cleaning, expectations, records, splitting, validation, vocabulary
    from attention_lab.params import load

    options = load(params, *SECTIONS)
    shape = records.SHAPES[options.task]
    kept = records.read(clean / "kept.parquet", shape)
    split = splitting.assign(kept, shape, options.split, options.seed)
    train, valid = kept[split == "train"], kept[split == "valid"]
    normaliser = cleaning.normaliser(options.clean)
    labels = vocabulary.labels(train[shape.label]) if shape.label else []
    tokenizers, reports = [], []
    for side, columns in shape.vocabularies(options.vocab.shared).items():
        texts, unseen = ([text for column in columns for text in part[column]] for part in (train, valid))
        tokenizers.append(vocabulary.train(texts, options.vocab, normaliser))
        reports.append(expectations.check_vocab(tokenizers[-1], texts, unseen, labels, options.vocab, side))
    vocabulary.save(tokenizers[0], output, *tokenizers[1:])
    vocabulary.save_labels(labels, output)
    validation.publish(validation.together(reports, len(train) + len(valid)), gates)
    sizes = " + ".join(f"{len(tokenizer):,}" for tokenizer in tokenizers)
    typer.echo(f"vocab: {sizes} {options.vocab.tokenizer} entries from {len(train):,} training rows")
    if labels:
        typer.echo(f"vocab: {len(labels)} labels: {', '.join(labels[:SHOWN])}{', …' * (len(labels) > SHOWN)}")


if __name__ == "__main__":
    run(app, "vocab")
