"""A web page on this machine: text goes in, prediction and attention come out.

It talks to nobody else: script, style and data come from this package, the server listens on 127.0.0.1 alone, and the
page's Content-Security-Policy forbids the browser to ask anyone but this server.
"""

from __future__ import annotations

import json
import math
import socket
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from flask import Flask, Response, render_template, request
from jinja2 import StrictUndefined
from werkzeug.serving import WSGIRequestHandler, make_server

from attention_lab import vocabulary
from attention_lab.errors import InputError, check_unicode
from attention_lab.explanation import CAUTION, Map, explain
from attention_lab.inference import Predictor
from attention_lab.interpretation.examples import choose
from attention_lab.records import SHAPES, spelled

HOST = "127.0.0.1"
SHOWN = 80  # words of each side of a large map
EXAMPLES = 6
WRITTEN, CLASSED = ("✗ differs", "✓ same"), ("✗ wrong", "✓ right")  # than, or as, the reference
PROMPT = 4  # words of an example for a language model to go on with
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Option:
    """A number that `Predictor.predict` takes, with its bounds and what it does."""

    name: str
    label: str
    hint: str
    low: float
    high: float
    step: float
    default: float

    def read(self, value: object) -> float:
        """The number, whole where the step is.

        Raises:
            InputError: it is no number, or out of bounds.
        """
        whole = isinstance(self.step, int)
        if value is None:
            kind = "whole number" if whole else "number"
            raise InputError(f"{self.label} is empty; give a {kind} between {self.low} and {self.high}")
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not math.isfinite(value):
            raise InputError(f"{self.label} must be a {'whole ' if whole else ''}number, not {value!r}")
        if not self.low <= value <= self.high:
            raise InputError(f"{self.label} must be between {self.low} and {self.high}, not {value}")
        return value


WRITING = (
    Option("beams", "Beams", "candidates kept while searching; 1 is greedy", 1, 16, 1, 4),
    Option("length_penalty", "Length penalty", "0 prefers short answers", 0.0, 2.0, 0.1, 1.0),
)
OPTIONS: dict[str, tuple[Option, ...]] = {
    "translation": WRITING,
    "summarization": WRITING,
    "generation": (
        Option("seed", "Seed", "another number draws another text", 0, 999_999, 1, 0),
        Option("temperature", "Temperature", "higher is bolder", 0.0, 2.0, 0.1, 1.0),
        Option("top_p", "Top-p", "draw from the most probable tokens that make up this share", 0.05, 1.0, 0.05, 1.0),
        Option("max_tokens", "Maximum length", "tokens of the continuation", 4, 128, 1, 60),
    ),
    "sentiment": (),
    "multi_label": (
        Option("threshold", "Threshold", "the lowest probability at which a label is predicted", 0.0, 1.0, 0.05, 0.5),
    ),
    "question_answering": (
        Option("no_answer", "No answer", "given where it is likelier by this many nats", -20.0, 20.0, 0.5, 0.0),
    ),
}


def application(predictor: Predictor, examples: list[dict[str, Any]]) -> Flask:
    """The page at /, and /predict, which takes {"inputs": {field: text}, "options": {name: number}}.

    A mistake in them is answered with {"error": a sentence} and status 400.
    """
    config = predictor.model.config
    names, options = predictor.fields, OPTIONS[predictor.task.name]
    one_at_a_time = Lock()
    app = Flask(__name__)
    app.config["TRUSTED_HOSTS"] = [HOST, "localhost"]  # no other site's name may be made to point here
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_env.undefined, app.jinja_env.trim_blocks, app.jinja_env.lstrip_blocks = StrictUndefined, True, True

    @app.get("/")
    def page() -> str:
        return render_template(
            "page.html",
            task=predictor.task.name.replace("_", " "),
            mechanism=config.mechanism_name.replace("_", " "),
            parameters=sum(parameter.numel() for parameter in predictor.model.parameters()),
            fields=names,
            options=options,
            examples=examples,
            caution=CAUTION,
        )

    @app.post("/predict")
    def predict() -> dict[str, Any]:
        inputs, search = _asked(request.get_json(), names, options)
        with one_at_a_time:
            answer = predictor.predict([inputs], **search)[0]
            maps = explain(predictor, inputs, answer)
        unknown = vocabulary.unknown_words(predictor.tokenizer, inputs.values(), SHOWN)
        return {**_plain(answer), "unknown": unknown, "maps": [drawn(found) for found in maps]}

    @app.errorhandler(InputError)
    def refuse(error: InputError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 400

    @app.after_request
    def guard(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    return app


def _asked(body: Any, names: tuple[str, ...], options: tuple[Option, ...]) -> tuple[dict[str, str], dict[str, Any]]:
    """What a request asks for; white space is single spaces, for a text is one line everywhere here."""
    inputs, search = (body.get(name) if isinstance(body, dict) else None for name in ("inputs", "options"))
    if not isinstance(inputs, dict) or not isinstance(search, dict):
        raise InputError('a request must be like {"inputs": {field: text}, "options": {name: number}}')
    known = {option.name: option for option in options}
    for given, allowed in ((inputs, names), (search, tuple(known))):
        if unknown := [name for name in given if name not in allowed]:
            raise InputError(f"unknown {unknown[0]!r}; known here: {', '.join(allowed) or 'nothing'}")
    for name, text in inputs.items():
        if not isinstance(text, str):
            raise InputError(f"{name} must be text, not {json.dumps(text)[:40]}")
    texts = {name: " ".join(inputs.get(name, "").split()) for name in names}
    for name, text in texts.items():
        if not text:
            raise InputError(f"{name} is empty; give at least one word")
        check_unicode(text, name)
    return texts, {name: known[name].read(value) for name, value in search.items()}


def _plain(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What of an answer the page shows."""
    shown = {name: answer[name] for name in ("truncated", "probability", "probabilities") if name in answer}
    return {"prediction": spelled(answer["prediction"]), **shown}


def drawn(found: Map) -> dict[str, Any]:
    """A map for the page: weights (N, H + 1, Wq, Wk) in thousandths, the mean of the heads before them; the first SHOWN
    words of each side, if there are more cells than those have."""
    cut = len(found.queries) * len(found.keys) > SHOWN**2
    shown = SHOWN if cut else None
    weights = found.weights[..., :shown, :shown]
    with_mean = np.concatenate([weights.mean(1, keepdims=True), weights], axis=1) if len(weights) else weights
    return {
        **{name: value for name, value in asdict(found).items() if name in ("name", "what", "notes")},
        "queries": found.queries[:shown],
        "keys": found.keys[:shown],
        "cut": cut,
        "weights": np.rint(1000.0 * with_mean).astype(int).tolist(),
    }


def examples_of(predictions: Path, task: str, number: int = EXAMPLES) -> list[dict[str, Any]]:
    """Inputs to click on, from what the evaluate stage has predicted: wrong ones first, up to half of them.

    Each has `inputs`, and where the task has a truth `reference` and a `verdict` on what was predicted. None, if the
    file is not there or is of another task.
    """
    if not predictions.is_file():
        return []
    # Not splitlines(): texts may hold U+2028 and others that it takes for line ends.
    lines = predictions.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    table = pd.DataFrame([json.loads(line) for line in lines])
    shape = SHAPES[task]
    names, truth = shape.inputs, shape.truth
    if not {"row", "prediction", *names, *([truth] if truth else [])} <= set(table.columns):
        return []
    right = (table["prediction"] == table[truth]).to_numpy() if truth else np.ones(len(table), dtype=bool)
    words = table[list(names)].map(lambda text: len(text.split())).max(axis=1).to_numpy()
    records = {record["row"]: record for record in table.to_dict("records")}
    found: list[dict[str, Any]] = []
    for row in choose(table, right, words, number, seed=0):
        texts = {name: str(records[row][name]) for name in names}
        if truth is None:
            found.append({"inputs": {name: " ".join(text.split()[:PROMPT]) for name, text in texts.items()}})
        else:
            reference, same = records[row][truth], records[row]["prediction"] == records[row][truth]
            verdict = (CLASSED if shape.label else WRITTEN)[int(same)]
            found.append({"inputs": texts, "reference": spelled(reference), "verdict": verdict})
    return found


class _Quiet(WSGIRequestHandler):
    """Says nothing of a request that went well: its address may hold what somebody wrote."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def serve(model: Path, port: int, *, browser: bool, say: Callable[[str], None] = print) -> None:
    """Serve the page until the user ends it with Ctrl+C.

    Args:
        model: the folder that the train stage has written; examples come from the predictions beside it.
        port: 0 takes a free one.
        browser: open the page in one.

    Raises:
        InputError: there is no model, or the port is taken.
    """
    predictor = Predictor(model)
    examples = examples_of(model.parent / "predictions" / "predictions.jsonl", predictor.task.name)
    try:
        listening = socket.create_server((HOST, port))
    except OSError as error:
        raise InputError(
            f"port {port} cannot be used ({error.strerror}); give another with --port, 0 for any"
        ) from None
    with listening:
        page = application(predictor, examples)
        server = make_server(
            HOST, port, page, threaded=True, request_handler=_Quiet, fd=listening.fileno()
        )  # fmt: skip
        address = f"http://{HOST}:{listening.getsockname()[1]}/"
        say(f"attention-lab: {address} (press Ctrl+C to stop)")
        if browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("")
