"""Stage 6: train the model."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline import run

SECTIONS = ("seed", "task", "encode", "attention", "model", "train")
EXAMPLES = {"question_answering": {"question": "Where is Anna?", "context": "Anna went to the kitchen."}}
app = typer.Typer(add_completion=False)


@app.command()
def train(
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
    encoded: Annotated[Path, typer.Option(help="What encode has written.")] = Path("data/encoded"),
    vocab: Annotated[Path, typer.Option(help="What vocab has written.")] = Path("data/vocab"),
    output: Annotated[Path, typer.Option(help="Where the model goes.")] = Path("data/model"),
    metrics: Annotated[Path, typer.Option(help="Where metrics and curves go.")] = Path("metrics"),
) -> None:
    """Train a Transformer with the attention mechanism of params.yaml; log the run to MLflow.

    \b
    params.yaml  seed task encode attention model train ─┐         ┌─ data/model: weights, config, tokenizer
    data/encoded, data/vocab ────────────────────────────┴─ train ─┼─ metrics/train.json
                                                                   └─ metrics/plots/training: curves
    A killed training goes on where it was, to the bit. Gate: the loss is finite and below the trivial baseline's.
    """
    from attention_lab import metrics as numbers
    from attention_lab import plots, processes, tracking, training
    from attention_lab.params import load, record
    from attention_lab.tasks import in_full

    options = load(params, *SECTIONS)
    config = training.configure(options, vocab)
    key = training.key(options, encoded, vocab)
    state = tracking.home() / ".attention_lab" / "unfinished" / key
    with processes.alone(state):
        if processes.launched(options.train.processes, "pipeline.train"):
            return
        if processes.is_helper():
            training.fit(config, options, encoded, vocab, output, state)
            return
        all_but_later = in_full(record(params, "evaluate", "interpret"), config)
        with tracking.training_run(key, f"{options.task}, {config.mechanism_name}", all_but_later) as log:
            log.data(options.task, encoded)
            result = training.fit(config, options, encoded, vocab, output, state, log.metrics)
            numbers.write(result.metrics, metrics / "train.json")
            curves = result.train_curve, result.valid_curve, result.pretrain_curve
            plots.training(*curves, metrics / "plots" / "training")
            log.result("train", result.metrics, result.speed)
            log.artifacts(metrics / "plots" / "training", folder="plots")
            log.model(output, options.task, example=EXAMPLES.get(options.task, "The old dog sees the cat."))
    typer.echo(f"train: {result.metrics['steps']:,} steps, valid loss {result.metrics['valid_loss']:.3f}")


if __name__ == "__main__":
    run(app, "train")
