"""All stages under one name, for people: `python -m pipeline STAGE`. dvc.yaml runs the stages' own modules."""

import typer

from pipeline import clean, encode, evaluate, ingest, interpret, run, split, train, vocab

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The eight stages, in order: ingest → clean → vocab → split → encode → train → evaluate → interpret.",
)
for stage in (ingest, clean, vocab, split, encode, train, evaluate, interpret):
    app.add_typer(stage.app)

if __name__ == "__main__":
    run(app, "pipeline")
