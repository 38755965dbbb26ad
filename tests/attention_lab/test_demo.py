"""The demo: what its server says, and the page as a browser shows it."""

from __future__ import annotations

import json
import queue
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
import torch
from devtools import Chromium, opened
from flask.testing import FlaskClient
from test_models import config

from attention_lab import cli, params, vocabulary
from attention_lab.demo import HEADERS, OPTIONS, SHOWN, application, drawn, examples_of, serve
from attention_lab.errors import InputError
from attention_lab.explanation import Map, explain
from attention_lab.inference import DEFAULTS, Predictor
from attention_lab.records import SHAPES
from attention_lab.transformer import build, save

TEXT = "the old dog sees a small cat"
TASKS = {
    "translation": "encoder_decoder",
    "sentiment": "classifier",
    "multi_label": "classifier",
    "generation": "decoder",
    "question_answering": "spans",
}


def folder(at: Path, task: str, mechanism: str = "scaled_dot_product") -> Path:
    """What the train stage writes, of a model with random weights."""
    torch.manual_seed(5)
    options = params.Vocab(tokenizer="word", shared=True, size=100, min_frequency=1, max_unknown_share=1.0)
    tokenizer = vocabulary.train([f"{TEXT} and sleeps ."], options, None)
    labels = ("no", "yes", "perhaps") if TASKS[task] == "classifier" else ()
    sizes = {"vocabulary": len(tokenizer), "segments": 2 if task == "question_answering" else 0}
    model = build(config(architecture=TASKS[task], task=task, labels=labels, mechanism=mechanism, **sizes))
    save(model, at / "model")
    vocabulary.save(tokenizer, at / "model")
    return at / "model"


def predictions(at: Path, rows: list[dict[str, Any]]) -> Path:
    file = at / "predictions" / "predictions.jsonl"
    file.parent.mkdir()
    lines = [json.dumps({"row": f"a:{n}", **row}, ensure_ascii=False) for n, row in enumerate(rows)]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


TRANSLATED = [
    {"source": "the old dog", "target": "a", "prediction": "b"},
    {"source": "a small cat", "target": "c", "prediction": "c"},
    {"source": "the cat sees", "target": "d", "prediction": "d"},
]


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    return application(Predictor(folder(tmp_path, "translation")), []).test_client()


def ask(client: FlaskClient, inputs: Any, options: Any) -> Any:
    return client.post("/predict", json={"inputs": inputs, "options": options})


def test_the_answer_is_that_of_the_predictor_with_the_maps_of_its_words(tmp_path: Path) -> None:
    predictor = Predictor(folder(tmp_path, "translation"))
    reply = ask(application(predictor, []).test_client(), {"source": f" {TEXT} \n zebra"}, {"beams": 3})
    wanted = predictor.predict([f"{TEXT} zebra"], beams=3)[0]
    assert reply.json["prediction"] == wanted["prediction"]
    assert reply.json["unknown"] == ["zebra"]
    maps = explain(predictor, {"source": f"{TEXT} zebra"}, wanted)
    assert reply.json["maps"] == [drawn(found) for found in maps]
    assert reply.json["maps"][0]["keys"] == [*TEXT.split(), "zebra"]


@pytest.mark.parametrize(
    ("task", "option"),
    [
        ("sentiment", {}),
        ("generation", {"temperature": 0.5, "max_tokens": 7}),
        ("question_answering", {"no_answer": 20}),
        ("question_answering", {"no_answer": -20}),
    ],
)
def test_every_architecture_answers(tmp_path: Path, task: str, option: dict[str, float]) -> None:
    predictor = Predictor(folder(tmp_path, task))
    texts = dict.fromkeys(predictor.fields, TEXT)
    client = application(predictor, []).test_client()
    reply = ask(client, texts, option).json
    wanted = predictor.predict([texts], **option)[0]
    assert reply["prediction"] == wanted["prediction"]
    assert reply.get("probabilities") == wanted.get("probabilities")
    assert re.findall(r'<textarea id="field-(\w+)"', client.get("/").text) == list(predictor.fields)


def test_a_map_has_the_mean_of_its_heads_before_them_in_thousandths() -> None:
    weights = np.array([[[[0.25, -0.5, 0.0]], [[0.75, 0.1234, 1.0]]]])
    found = drawn(Map("name", "what", ["q"], ["a", "b", "c"], weights))
    assert found["weights"] == [[[[500, -188, 500]], [[250, -500, 0]], [[750, 123, 1000]]]]
    assert not found["cut"]


def test_a_map_of_a_long_text_shows_its_first_words() -> None:
    long = [str(number) for number in range(SHOWN + 3)]
    found = drawn(Map("name", "what", long, long, np.ones((2, 3, SHOWN + 3, SHOWN + 3))))
    assert found["cut"]
    assert found["keys"] == found["queries"] == long[:SHOWN]
    assert np.array(found["weights"]).shape == (2, 4, SHOWN, SHOWN)


def test_a_map_of_few_rows_shows_all_words() -> None:
    long = [str(number) for number in range(SHOWN + 3)]
    found = drawn(Map("name", "what", ["q"] * 5, long, np.ones((2, 3, 5, SHOWN + 3))))
    assert not found["cut"]
    assert np.array(found["weights"]).shape == (2, 4, 5, SHOWN + 3)


@pytest.mark.parametrize(
    ("inputs", "options", "sentence"),
    [
        ({"source": " \n"}, {}, "source is empty; give at least one word"),
        ({}, {}, "source is empty; give at least one word"),
        ({"source": None}, {}, "source must be text, not null"),
        ({"source": ["a"]}, {}, 'source must be text, not ["a"]'),
        ({"source": "a", "context": "b"}, {}, "unknown 'context'; known here: source"),
        ({"source": "a"}, {"tempo": 1}, "unknown 'tempo'; known here: beams, length_penalty"),
        ({"source": "a"}, {"beams": 17}, "Beams must be between 1 and 16, not 17"),
        ({"source": "a"}, {"beams": 2.5}, "Beams must be a whole number, not 2.5"),
        ({"source": "a"}, {"beams": None}, "Beams is empty; give a whole number between 1 and 16"),
        ({"source": "a"}, {"length_penalty": True}, "Length penalty must be a number, not True"),
        ("a", {}, 'a request must be like {"inputs": {field: text}, "options": {name: number}}'),
    ],
)
def test_a_mistake_is_one_sentence(client: FlaskClient, inputs: Any, options: Any, sentence: str) -> None:
    reply = ask(client, inputs, options)
    assert (reply.status_code, reply.json) == (400, {"error": sentence})


def test_the_page_is_of_this_server_alone(client: FlaskClient) -> None:
    page = client.get("/")
    for name, value in HEADERS.items():
        assert page.headers[name] == value
    assert "http" not in page.headers["Content-Security-Policy"]
    linked = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert len(linked) == 3
    for address in linked:
        assert client.get(address).status_code == 200
        assert address.startswith("/static/")


def test_a_name_of_somebody_else_is_no_way_in(client: FlaskClient) -> None:
    assert client.get("/", headers={"Host": "127.0.0.1:8321"}).status_code == 200
    assert client.get("/", headers={"Host": "example.org"}).status_code == 400


def test_examples_are_wrong_and_right_predictions(tmp_path: Path) -> None:
    found = examples_of(predictions(tmp_path, TRANSLATED), "translation")
    assert found[0] == {"inputs": {"source": "the old dog"}, "reference": "a", "verdict": "✗ differs"}
    assert {one["verdict"] for one in found[1:]} == {"✓ same"}
    assert len(found) == 3


def test_an_example_may_hold_other_line_ends(tmp_path: Path) -> None:
    text = "the old\u2028dog\u0085sees"
    found = examples_of(predictions(tmp_path, [{"text": text, "label": "a", "prediction": "a"}]), "sentiment")
    assert [one["inputs"] for one in found] == [{"text": text}]


def test_examples_with_several_labels_say_them_as_one_text(tmp_path: Path) -> None:
    rows = [{"text": TEXT, "labels": ["a", "b"], "prediction": ["a"]}, {"text": "x", "labels": [], "prediction": []}]
    found = examples_of(predictions(tmp_path, rows), "multi_label")
    assert found == [
        {"inputs": {"text": TEXT}, "reference": "a | b", "verdict": "✗ wrong"},
        {"inputs": {"text": "x"}, "reference": "", "verdict": "✓ right"},
    ]


def test_a_language_model_gets_beginnings_to_go_on_with(tmp_path: Path) -> None:
    found = examples_of(predictions(tmp_path, [{"text": TEXT, "prediction": TEXT}]), "generation")
    assert found == [{"inputs": {"text": "the old dog sees"}}]


def test_predictions_that_are_missing_or_of_another_task_give_no_examples(tmp_path: Path) -> None:
    assert examples_of(tmp_path / "no.jsonl", "translation") == []
    assert examples_of(predictions(tmp_path, TRANSLATED), "sentiment") == []


def test_every_option_is_one_of_the_predictors() -> None:
    assert set(OPTIONS) == set(SHAPES)
    for options in OPTIONS.values():
        for option in options:
            assert type(dict(DEFAULTS)[option.name]) is type(option.default)
            assert option.read(option.default) == option.default


def test_without_a_model_the_command_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["attention-lab", "demo", "--model", str(tmp_path / "model"), "--no-browser"])
    with pytest.raises(SystemExit) as end:
        cli.app()
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert said == f"attention-lab: {tmp_path / 'model'} holds no trained model; run `dvc repro train` first\n"


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} cannot be used"):
            serve(folder(tmp_path, "sentiment"), port, browser=False)


def served(model: Path) -> str:
    """The address of a page that is served until the tests end."""
    said: queue.Queue[str] = queue.Queue()
    threading.Thread(target=serve, args=(model, 0), kwargs={"browser": False, "say": said.put}, daemon=True).start()
    return re.search(r"http://127\.0\.0\.1:\d+/", said.get(timeout=20)).group()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    found = opened(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def browser(chromium: Chromium) -> Chromium:
    chromium.requests.clear()
    chromium.errors.clear()
    return chromium


SHARES = "[...document.querySelectorAll('.weight')].map(one => Number(one.style.getPropertyValue('--share')))"
ANSWERED = "!document.querySelector('#attention').hidden && !document.querySelector('form').ariaBusy"


def test_a_browser_shows_prediction_and_map_and_asks_nobody_else(tmp_path: Path, browser: Chromium) -> None:
    model = folder(tmp_path, "translation")
    predictions(tmp_path, TRANSLATED)
    predictor, address = Predictor(model), served(model)

    browser.open(address)
    browser.type("textarea", f"{TEXT} ملك")
    browser.type("[name=beams]", "2")
    browser.click("button[type=submit]")
    browser.wait(ANSWERED)
    answer = predictor.predict([f"{TEXT} ملك"], beams=2)[0]
    assert browser.value("document.querySelector('#prediction').textContent") == answer["prediction"]
    cross = explain(predictor, {"source": f"{TEXT} ملك"}, answer)[0]
    for head in (None, 2):
        browser.choose("#head", str(head or 0))
        wanted = np.rint(1000 * cross.of(2, head)).ravel()
        assert browser.value(SHARES) == pytest.approx(wanted / wanted.max())
    assert browser.value("[...document.querySelectorAll('thead bdi')].map(one => one.textContent)") == cross.keys

    # An example, by the mouse; what its reference has is said too.
    browser.click("#choices button")
    browser.wait("document.querySelector('textarea').value === 'the old dog'")
    browser.wait("!document.querySelector('#reference').hidden")
    assert "the reference says: a" in browser.value("document.querySelector('#reference').textContent")

    # On a telephone, dark, from an address that fills the form: nothing is wider than the screen.
    browser.send("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=False)
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.open(f"{address}?source={quote(' '.join([TEXT] * 3))}")
    browser.wait(ANSWERED)
    assert browser.value("document.querySelector('.heat').offsetWidth") > 400
    assert browser.value("document.documentElement.scrollWidth") <= 400
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(16, 20, 24)"

    assert browser.errors == []
    assert {urlsplit(request).netloc for request in browser.requests} == {urlsplit(address).netloc}


def test_a_browser_opens_on_an_example_that_writing_replaces_and_shows_what_was_asked_last(
    tmp_path: Path, browser: Chromium
) -> None:
    model = folder(tmp_path, "translation")
    predictions(tmp_path, TRANSLATED)
    browser.send("Emulation.setDeviceMetricsOverride", width=400, height=500, deviceScaleFactor=1, mobile=False)
    browser.open(served(model))
    browser.wait(ANSWERED)
    right = {row["source"] for row in TRANSLATED if row["prediction"] == row["target"]}
    assert browser.value("document.querySelector('textarea').value") in right
    assert browser.value("scrollY") == 0
    browser.send("Input.insertText", text=TEXT)
    assert browser.value("document.querySelector('textarea').value") == TEXT

    # Answers that come in another order than they were asked for: the second question's, and then the first one's.
    browser.value(
        "window.waiting = []; window.fetch = (_, sent) => new Promise((answer) => waiting.push((text) => answer(new "
        "Response(JSON.stringify({prediction: text, truncated: false, unknown: ['d'.repeat(99)], maps: []})))))"
    )
    browser.value("form.requestSubmit(); form.requestSubmit(); chooseMap = () => {}; waiting[1]('second')")
    browser.wait("document.querySelector('#prediction').textContent === 'second'")
    browser.value("waiting[0]('first')")
    browser.send("Runtime.evaluate", expression="new Promise((done) => setTimeout(done, 50))", awaitPromise=True)
    assert browser.value("document.querySelector('#prediction').textContent") == "second"
    assert f": {'d' * 40}…." in browser.value("document.querySelector('#unknown').textContent")
    assert browser.errors == []


def test_a_browser_shows_classes_and_coloured_words(tmp_path: Path, browser: Chromium) -> None:
    model = folder(tmp_path, "sentiment", mechanism="differential")
    predictor = Predictor(model)
    browser.open(f"{served(model)}?text={quote(TEXT)}")
    browser.wait(ANSWERED)
    answer = predictor.predict([TEXT])[0]
    line = explain(predictor, {"text": TEXT}, answer)[0].of(2)[0]
    words = "[...document.querySelectorAll('.words li')]"
    assert browser.value(f"{words}.map(one => one.firstChild.textContent)") == TEXT.split()
    assert (
        browser.value(f"{words}.map(one => one.classList.contains('negative'))") == (np.rint(1000 * line) < 0).tolist()
    )
    bars = "[...document.querySelectorAll('.bar')].map(one => Number(one.style.getPropertyValue('--share')))"
    assert browser.value(bars) == pytest.approx(list(answer["probabilities"].values()))
    assert browser.errors == []


@pytest.mark.parametrize(("text", "wanted"), [("הכלב רואה cat", "rtl"), (TEXT, "ltr")])
def test_words_of_a_text_run_as_it_is_read(tmp_path: Path, browser: Chromium, text: str, wanted: str) -> None:
    browser.open(f"{served(folder(tmp_path, 'sentiment'))}?text={quote(text)}")
    browser.wait(ANSWERED)
    assert browser.value("getComputedStyle(document.querySelector('.words')).direction") == wanted


def test_a_browser_shows_a_bar_for_each_of_several_labels(tmp_path: Path, browser: Chromium) -> None:
    model = folder(tmp_path, "multi_label")
    rows = [{"text": TEXT, "labels": ["a"], "prediction": []}, {"text": "a cat", "labels": [], "prediction": []}]
    predictions(tmp_path, rows)
    predictor = Predictor(model)
    browser.open(f"{served(model)}?text={quote(TEXT)}")
    browser.wait(ANSWERED)
    answer = predictor.predict([TEXT])[0]
    shown = " | ".join(answer["prediction"]) or "(nothing)"
    assert browser.value("document.querySelector('#prediction').textContent") == shown
    bars = "[...document.querySelectorAll('.bar')].map(one => Number(one.style.getPropertyValue('--share')))"
    assert browser.value(bars) == pytest.approx(list(answer["probabilities"].values()))
    assert "the reference says: a" in browser.value("document.querySelector('#reference').textContent")
    assert browser.errors == []


def test_a_browser_says_where_there_are_no_weights(tmp_path: Path, browser: Chromium) -> None:
    browser.open(f"{served(folder(tmp_path, 'sentiment', mechanism='fnet'))}?text={quote(TEXT)}")
    browser.wait(ANSWERED)
    for name in ("picture", "legend", "what", "caution"):
        assert browser.value(f"document.querySelector('#{name}').hidden")
    assert "fnet has no attention weights" in browser.value("document.querySelector('#notes').innerText")
    assert browser.errors == []


def test_a_browser_has_a_box_for_question_and_context(tmp_path: Path, browser: Chromium) -> None:
    model = folder(tmp_path, "question_answering")
    row = {"question": "sees a dog", "context": TEXT, "answer": "cat", "prediction": "dog"}
    predictions(tmp_path, [row])
    browser.open(served(model))
    assert browser.value("document.querySelector('#choices bdi').textContent") == f"sees a dog · {TEXT}"
    browser.click("#choices button")
    browser.wait(ANSWERED)
    assert browser.value("[...document.querySelectorAll('textarea')].map(one => one.value)") == ["sees a dog", TEXT]
    assert browser.value("document.querySelector('#picture').childElementCount") == 1
    assert browser.errors == []
