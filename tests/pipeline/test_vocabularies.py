"""A vocabulary each for source and target, from clean rows to the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT

from attention_lab import encoding, evaluation, interpretation, params, records, training, vocabulary
from attention_lab.explanation import explain
from attention_lab.inference import Predictor
from attention_lab.records import SHAPES, SPLITS
from attention_lab.segmentation import Resegmented
from pipeline.encode import encode
from pipeline.split import split
from pipeline.vocab import vocab

WORDS = {"red": "ROT", "green": "GRÜN", "blue": "BLAU", "black": "SCHWARZ", "white": "WEISS"}
CHANGES = {
    "vocab": {"shared": False, "tokenizer": "bpe", "size": 50, "min_frequency": 1, "max_unknown_share": 0.0},
    "model": {"layers": 1, "width": 16, "heads": 2, "feedforward": 19, "dropout": 0.0},
    "train": {"epochs": 9, "tokens_per_batch": 300, "learning_rate": 0.02, "pretrain": 1, "subword_dropout": 0.1},
    "evaluate": {"beams": 3, "best": 2, "max_tokens": 23, "bootstrap": 100},
    "interpret": {"examples": 2, "bootstrap": 100},
}


def rows() -> pd.DataFrame:
    """Colours and what they are called elsewhere, word by word."""
    generator = np.random.default_rng(3)
    lines = []
    for number in range(233):
        words = generator.choice(list(WORDS), int(generator.integers(1, 5))).tolist()
        where = SPLITS[(number % 11 == 0) + 2 * (number % 11 == 1)]
        texts = {"source": f"{' '.join(words)} {number}", "target": " ".join(WORDS[word] for word in words)}
        gold = [[i, i] for i in range(len(words))]
        lines.append({"row": f"x:{number}", "split": where, **texts, "references": None, "alignment": gold})
    return pd.DataFrame(lines)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with parameters and clean rows; stages run in it, in this process."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section, changes in CHANGES.items():
        values[section] |= changes
    values["split"]["strategy"] = "predefined"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    records.write(rows(), tmp_path / "data/clean/kept.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_source_and_target_have_a_vocabulary_each(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options, shape = params.load(project / "params.yaml"), SHAPES["translation"]
    vocab()
    split()
    encode()
    recut: list[Resegmented] = []
    monkeypatch.setattr(training, "Resegmented", lambda *given: recut.append(Resegmented(*given)) or recut[0])
    config = training.configure(options, Path("data/vocab"))
    training.fit(config, options, Path("data/encoded"), Path("data/vocab"), Path("data/model"), Path("unfinished"))
    predictor = Predictor(Path("data/model"))
    known = [set(t.get_vocab()) - set(vocabulary.SPECIALS) for t in (predictor.tokenizer, predictor.target_tokenizer)]
    assert {"r", "7"} <= known[0] - known[1]
    assert {"R", "Ü"} <= known[1] - known[0]
    sizes = predictor.model.config.vocabulary, predictor.model.config.target_vocabulary
    assert sizes == tuple(len(vocabulary.load(Path("data/vocab", folder))) for folder in ("", "target"))
    gate = json.loads(Path("metrics/validation/vocab.json").read_text(encoding="utf-8"))
    assert {result["meaning"].partition(", ")[0] for result in gate["results"]} == {"for the source", "for the target"}

    test = records.read(Path("data/split/test.parquet")).set_index("row")
    table = encoding.read(Path("data/encoded/test.arrow"))
    for name, tokenizer in (("source", predictor.tokenizer), ("target", predictor.target_tokenizer)):
        said = tokenizer.batch_decode(table[name].tolist(), skip_special_tokens=True)
        assert said == test.loc[table["row"], name].tolist()

    cut = recut[0].of_epoch(0).target
    texts = records.read(Path("data/split/train.parquet"))["target"].tolist()
    assert predictor.target_tokenizer.batch_decode(cut, skip_special_tokens=True) == texts

    predictions = evaluation.predict(predictor, Path("data/encoded"), test.reset_index(), shape, options.evaluate)
    wanted = predictions["prediction"].tolist()
    assert set("".join(wanted)) <= set("".join(WORDS.values())) | {" "}
    assert len(set(wanted)) > 3
    found = predictor.predict(predictions["source"].tolist(), beams=3, best=2, max_tokens=23)
    assert [answer["prediction"] for answer in found] == wanted
    greedy = predictor.predict(["black red 5"], max_tokens=23)[0]["prediction"]
    assert "".join(predictor.stream("black red 5", max_tokens=23)) == greedy

    # What it has written is cut by the target's tokenizer, here as in the report.
    records.write(predictions, Path("data/predictions/predictions.parquet"))
    folders = (Path("data", name) for name in ("model", "encoded", "split", "predictions"))
    report, shown = interpretation.run(options, *folders)
    assert report.metrics["alignment"]["sentences"] == len(test)
    assert shown.facts["vocabulary"] == f"{sizes[0]} + {sizes[1]} tokens"
    cross = explain(predictor, {"source": "black red 5"}, {"prediction": "ROT SCHWARZ"})[0]
    assert (cross.queries, cross.keys) == (["ROT", "SCHWARZ"], ["black", "red", "5"])


def test_a_vocabulary_that_is_shared_again_leaves_nothing_of_the_other(project: Path) -> None:
    vocab()
    assert vocabulary.load_target(Path("data/vocab")) is not None
    values = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    values["vocab"]["shared"] = True
    (project / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    vocab()
    assert sorted(path.name for path in Path("data/vocab").iterdir()) == ["labels.json", *sorted(vocabulary.FILES)]
    assert {"r", "7", "R", "Ü"} <= vocabulary.load(Path("data/vocab")).get_vocab().keys()
