"""attention-lab: what one does with a trained model, outside of the pipeline."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from attention_lab.errors import InputError, check_unicode

if TYPE_CHECKING:
    from attention_lab.inference import Predictor

commands = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Attention mechanisms from theory to implementation: use the model that `dvc repro` trained.",
)

FOLDER = "The folder written by the train stage, or a model directory of transformers."
AT_ONCE = 500  # texts between two steps of the progress bar


@commands.callback()
def root() -> None:
    """Use the model that the pipeline trained."""


@commands.command()
def predict(
    text: Annotated[
        list[str] | None, typer.Argument(help="One or more texts; without any, read standard input.")
    ] = None,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input", "-i", help="A table (.csv, .tsv, .json, .jsonl, .parquet) or one text per line; - for stdin."
        ),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="With --input: the column of the texts, where it is none that is known.")
    ] = None,
    context: Annotated[
        str | None, typer.Option("--context", "-c", help="Question answering: the text the questions are about.")
    ] = None,
    output_file: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write JSON lines, or a table if it ends in .csv, instead of printing."),
    ] = None,
    model: Annotated[Path, typer.Option(help=FOLDER)] = Path("data/model"),
    beams: Annotated[int, typer.Option(min=1, help="Width of the beam search; 1 is greedy.")] = 1,
    best: Annotated[int, typer.Option(min=1, help="Number of answers for each text, best first, with scores.")] = 1,
    length_penalty: Annotated[
        float, typer.Option(min=0.0, help="Beam search: 0 prefers short answers, 1 ranks by the mean per token.")
    ] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=4, help="Maximum length of an answer, in tokens.")] = 128,
    max_ratio: Annotated[
        float, typer.Option(min=0.01, help="Maximum length of an answer: this many times the text's tokens, plus ten.")
    ] = 2.0,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Multi-label: the lowest probability at which a label is predicted.")
    ] = 0.5,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="Generation: 0 always takes the most probable token, higher is bolder.")
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Generation: draw from this many tokens, the most probable ones.")
    ] = None,
    top_p: Annotated[
        float,
        typer.Option(min=0.01, max=1.0, help="Generation: draw from the most probable tokens that make up this share."),
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Generation: another seed draws other texts.")] = 0,
    no_repeat_ngram: Annotated[
        int, typer.Option(min=0, help="Never repeat a sequence of this many tokens; 0 allows it.")
    ] = 0,
    repetition_penalty: Annotated[
        float, typer.Option(min=1.0, help="Above 1, tokens already used become less probable.")
    ] = 1.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines with scores instead of bare predictions.")
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print each text as it is being written, one after the other.")
    ] = False,
    attention: Annotated[
        bool,
        typer.Option("--attention", help="With --json or --output: add the weights between words, by layer and head."),
    ] = False,
) -> None:
    """Predict for new texts.

    \b
    attention-lab predict "The old dog sees the cat."
    attention-lab predict --input rows.jsonl --output predictions.jsonl
    attention-lab predict --input reviews.csv --column opinion --output predictions.csv
    echo "What a dull film." | attention-lab predict
    attention-lab predict "Where is Anna?" --context "Anna went to the kitchen."
    attention-lab predict --best 3 "The old dog sees the cat."
    attention-lab predict --stream "The old dog sees the cat."
    attention-lab predict --json --attention "The old dog sees the cat."
    """
    from attention_lab import inputs
    from attention_lab.inference import Predictor
    from attention_lab.records import write_bytes

    if text and input_file is not None:
        raise InputError("give either texts or --input, not both")
    if column is not None and input_file is None:
        raise InputError("--column names a column of a table; give that with --input")
    rows = inputs.of_arguments(text) if input_file is None else inputs.of_file(input_file)
    if context is not None:
        check_unicode(context, "--context")
    search: dict[str, Any] = {
        "max_tokens": max_tokens,
        "max_ratio": max_ratio,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
        "no_repeat_ngram": no_repeat_ngram,
        "repetition_penalty": repetition_penalty,
    }
    for option, value in {**search, "length_penalty": length_penalty}.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"--{option.replace('_', '-')} must be a finite number, not {value}")
    if stream and (as_json or output_file is not None or beams > 1 or best > 1):
        raise InputError("--stream prints one plain text, word by word; leave out --json, --output, --beams and --best")
    plain = not as_json and output_file is None
    if attention and plain:
        raise InputError("--attention needs JSON lines: add --json or --output, or use `attention-lab explain`")
    predictor = Predictor(model)
    given = [inputs.asked(row, predictor.fields, column) for row in rows]
    if context is not None:
        given = [predictor.asked(one, context) for one in given]
    asked = [predictor.texts(one, where) for (where, _), one in zip(rows, given, strict=True)]
    if stream:
        for number, texts in enumerate(asked):
            for piece in predictor.stream(texts, number=number, **search):
                typer.echo(piece, nl=False)
            typer.echo()
        return
    search |= {"beams": beams, "best": best, "length_penalty": length_penalty, "threshold": threshold}
    answers = list(_answers(predictor, asked, search, attention))
    if cut := sum(answer["truncated"] for answer in answers):
        typer.echo(f"cut because they are longer than the model reads at once: {cut} of {len(given)} texts", err=True)
    if plain:
        typer.echo("\n".join(line for answer in answers for line in _plain(answer)))
        return
    told = []
    for (_, row), one, answer in zip(rows, given, answers, strict=True):
        named = {"text": one} if isinstance(one, str) else one
        told.append({**row, **named, **answer})
    if output_file is None:
        typer.echo("\n".join(map(inputs.written, told)))
        return
    table = output_file.suffix.lower() == ".csv"
    content = _table(told) if table else "".join(f"{inputs.written(line)}\n" for line in told)
    write_bytes(content.encode(), output_file)
    typer.echo(f"wrote {len(told)} predictions to {output_file}", err=True)


def _answers(
    predictor: Predictor, asked: Sequence[dict[str, str]], search: dict[str, Any], attention: bool
) -> Iterator[dict[str, Any]]:
    """What the model says of each, some at a time, and what it looked at."""
    from tqdm import tqdm

    with tqdm(total=len(asked), desc="predict", unit="text", disable=len(asked) <= AT_ONCE) as bar:
        for start in range(0, len(asked), AT_ONCE):
            chunk = asked[start : start + AT_ONCE]
            for one, answer in zip(chunk, predictor.predict(chunk, first=start, **search), strict=True):
                yield answer | ({"attention": _attention(predictor, one, answer)} if attention else {})
                bar.update()


def _attention(predictor: Predictor, texts: dict[str, str], answer: dict[str, Any]) -> list[dict[str, Any]]:
    """What was looked at, as `explanation.Map` has it: queries (Wq) and keys (Wk) in words, weights (N, H, Wq, Wk)."""
    from attention_lab.explanation import explain

    maps = explain(predictor, texts, answer)
    return [asdict(one) | {"weights": one.weights.astype(float).round(4).tolist()} for one in maps]


def _table(told: Sequence[dict[str, Any]]) -> str:
    """CSV with a column for each name; lists and objects in it are JSON."""
    import pandas as pd

    from attention_lab.inputs import written
    from attention_lab.records import spelled

    frame = pd.DataFrame([one | {"prediction": spelled(one["prediction"])} for one in told])
    return frame.map(lambda value: written(value) if isinstance(value, list | dict) else value).to_csv(index=False)


def _plain(answer: dict[str, Any]) -> list[str]:
    """The prediction; or a line for each of the best, with its probability or log-probability before it."""
    from attention_lab.records import spelled

    if "candidates" not in answer:
        return [spelled(answer["prediction"])]
    scores = (one.get("probability", one.get("log_probability")) for one in answer["candidates"])
    return [f"{score:.4f}\t{one['prediction']}" for score, one in zip(scores, answer["candidates"], strict=True)]


@commands.command()
def explain(
    text: Annotated[
        list[str] | None, typer.Argument(help="One or more texts; without any, read standard input.")
    ] = None,
    context: Annotated[
        str | None, typer.Option("--context", "-c", help="Question answering: the text the questions are about.")
    ] = None,
    model: Annotated[Path, typer.Option(help=FOLDER)] = Path("data/model"),
    beside: Annotated[
        Path | None, typer.Option(help="The folder of a second model, to be given the same texts.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="How to score words; by default the best in the last `dvc repro`, else weights.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every method, in brief.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with the report's viewer to this file.")] = None,
    metrics: Annotated[Path, typer.Option(help="The folder of metrics written by the pipeline.")] = Path("metrics"),
    max_tokens: Annotated[
        int | None,
        typer.Option(min=4, help="Maximum length of an answer, in tokens; by default 128, for language models 20."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line per text and method.")] = False,
) -> None:
    """Show which words of a text a prediction depends on, for one model or two side by side.

    \b
    attention-lab explain "The old dog sees the cat."
    attention-lab explain --all "The old dog sees the cat."
    attention-lab explain --method occlusion --html cat.html "The old dog sees the cat."
    attention-lab explain "Where is Anna?" --context "Anna went to the kitchen."
    attention-lab explain --model path/to/bert "What a dull film."
    attention-lab explain --beside data/additive --html two.html "The old dog sees the cat."
    """
    from attention_lab import inputs
    from attention_lab.explanation import terminal
    from attention_lab.explanation.page import page
    from attention_lab.explanation.told import tell
    from attention_lab.interpretation.methods import METHODS
    from attention_lab.records import write_bytes

    if method is not None and method not in METHODS:
        raise InputError(f"there is no method {method!r}; --method is one of {', '.join(METHODS)}")
    if method is not None and every:
        raise InputError("give either --method or --all, not both")
    told = tell(
        [model] if beside is None else [model, beside],
        [row["text"] for _, row in inputs.of_arguments(text)],
        measured=_measured(metrics),
        context=context,
        method=method,
        every=every or html is not None,  # a page has a picker
        max_tokens=max_tokens,
    )
    if html is not None:
        write_bytes(page(told).encode(), html)
        typer.echo(f"explained {len(told[0].answers)} text{'s' * (len(told[0].answers) != 1)} in {html}", err=True)
    if not every:
        told = [one.by_its_method() for one in told]
    if as_json:
        typer.echo(terminal.as_json(told))
    elif html is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        typer.echo(terminal.shown(told, short=every, width=width))


def _measured(metrics: Path) -> dict[str, Any]:
    """What the interpret stage has found, or nothing."""
    from attention_lab.records import read_json

    file = metrics / "interpret.json"
    return read_json(file) if file.is_file() else {}


@commands.command()
def demo(
    model: Annotated[Path, typer.Option(help=FOLDER)] = Path("data/model"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes any free one.")] = 8321,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page in a browser.")] = False,
) -> None:
    """Open a web page on this machine: text goes in, prediction and attention come out."""
    from attention_lab.demo import serve

    serve(model, port, browser=not no_browser, say=typer.echo)


@commands.command()
def summary(
    metrics: Annotated[Path, typer.Option(help="The folder of metrics written by the pipeline.")] = Path("metrics"),
) -> None:
    """Summarise in a few lines what the last `dvc repro` found."""
    from attention_lab.summary import describe

    typer.echo(describe(metrics))


@commands.command()
def compare(
    task: Annotated[
        str | None, typer.Option(help="The task to compare; by default that of the newest experiment.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE: only experiments with that value; can be repeated.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="A setting of the line to compare the others with: a mechanism or NAME=VALUE; can be repeated; by "
            "default the best line."
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page to this file.")] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put finished experiments side by side: what was changed, what came of it, and whether that may be chance.

    \b
    attention-lab compare
    attention-lab compare --against scaled_dot_product
    attention-lab compare --task sentiment --only model.layers=2
    attention-lab compare --html experiments.html

    Experiments that differ only in their seed share a line, which also counts trainings that failed. They are read
    from MLflow's store: mlflow.db, or the one that MLFLOW_TRACKING_URI names.
    """
    from attention_lab import comparison
    from attention_lab.comparison import shown
    from attention_lab.records import write_bytes
    from attention_lab.tracking import predictions, results

    found = comparison.compare(
        results(), task=task, only=only or (), against=against or (), predictions=predictions
    )  # fmt: skip
    if html is not None:
        write_bytes(shown.page(found).encode() + b"\n", html)
        typer.echo(f"compared {len(found.lines)} setting{'s' * (len(found.lines) != 1)} in {html}", err=True)
    if json_:
        typer.echo(shown.as_json(found))
    elif as_markdown:
        typer.echo(shown.markdown(found))
    elif html is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        typer.echo(shown.terminal(found, width))


@commands.command()
def mechanisms(
    name: Annotated[str | None, typer.Argument(help="The one to show in detail; without it, all are listed.")] = None,
    place: Annotated[
        Literal["encoder_self", "decoder_self", "cross"] | None,
        typer.Option(metavar="PLACE", help="Only those valid in encoder_self, decoder_self or cross."),
    ] = None,
    weights: Annotated[
        Literal["probabilities", "weights", "signed", "effective", "none"] | None,
        typer.Option(
            metavar="KIND",
            help="Only those whose weights are probabilities, weights (of any sum), signed, effective (of a kernel) or "
            "none.",
        ),
    ] = None,
    search: Annotated[str | None, typer.Option(help="Only those with this text in any field.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with parts, options and defaults.")] = False,
) -> None:
    """List the attention mechanisms, or show one with its parts, options and a picture of its weights.

    \b
    attention-lab mechanisms                                 all of them
    attention-lab mechanisms --place cross --search luong    some of them
    attention-lab mechanisms sparsemax                       one of them
    attention-lab mechanisms --json | jq '.[].name'          for other programs

    `dvc exp run -S attention.mechanism=NAME` takes one of these names.
    """
    from attention_lab.mechanisms import answer

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    typer.echo(answer(name, place=place, weights=weights, search=search, as_json=as_json, width=width))


def app() -> None:
    """The console script: a user's mistake is one sentence and exit code 1."""
    try:
        commands()
    except InputError as error:
        typer.echo(f"attention-lab: {error}", err=True)
        raise SystemExit(1) from None
