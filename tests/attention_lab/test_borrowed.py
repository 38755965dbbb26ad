"""Model directories of transformers beside transformers itself: what they predict, and where they look."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_families import BOS, END, PAD, VOCABULARY, bart, bert, gpt2, llama, marian, t5
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from attention_lab import borrowed
from attention_lab.demo import application
from attention_lab.errors import InputError
from attention_lab.explanation.page import page
from attention_lab.explanation.told import Told
from attention_lab.explanation.words import answers, explain
from attention_lab.inference import Predictor
from attention_lab.interpretation.methods import METHODS

SPECIALS = ["<unk>", "<pad>", "</s>", "<s>"]
WORDS = ["the", "old", "dog", "cat", "sees", "a", "small", "and", "sleep", "in", "garden", "##s", "##er"]
TEXT = "the smaller cat sees dogs in gardens"
PIECES = 10  # of TEXT
CONTEXT = "a cat sleeps in the garden"
AROUND = {
    "bert": "<s> $A </s>",
    "bart": "<s> $A </s>",
    "t5": "$A </s>",
    "marian": "$A </s>",
    "gpt2": "",
    "llama": "<s> $A",
}
WRITERS: dict[str, Callable[[], Any]] = {"bart": bart, "t5": t5, "marian": marian, "gpt2": gpt2, "llama": llama}


def saved(at: Path, theirs: Any, around: str) -> Path:
    """With a tokenizer that cuts words into pieces and knows the special tokens of the families' tests."""
    from transformers import PreTrainedTokenizerFast

    entries = [*SPECIALS, *WORDS, *(f"w{n}" for n in range(VOCABULARY - len(SPECIALS) - len(WORDS)))]
    numbers = {entry: number for number, entry in enumerate(entries)}
    backend = Tokenizer(models.WordPiece(numbers, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    if around:
        special = [(name, numbers[name]) for name in ("<s>", "</s>") if name in around]
        backend.post_processor = processors.TemplateProcessing(single=around, special_tokens=special)
    assert (numbers["<pad>"], numbers["</s>"], numbers["<s>"]) == (PAD, END, BOS)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>", eos_token="</s>", bos_token="<s>",
        sep_token="</s>", cls_token="<s>", clean_up_tokenization_spaces=False,
    )  # fmt: skip
    theirs.save_pretrained(at)
    tokenizer.save_pretrained(at)
    return at


def ids_of(predictor: Predictor, text: str) -> torch.Tensor:
    return torch.tensor([predictor.tokenizer(text)["input_ids"]])


def both(at: Path, theirs: Any, around: str) -> tuple[Any, Predictor]:
    """Theirs as it is read back, which for Marian has other positions, telling its weights; and ours."""
    saved(at, theirs, around)
    return type(theirs).from_pretrained(at, attn_implementation="eager").eval(), Predictor(at)


@pytest.mark.parametrize("family", WRITERS)
def test_what_is_written_is_what_transformers_writes_greedily(tmp_path: Path, family: str) -> None:
    theirs, predictor = both(tmp_path, WRITERS[family](), AROUND[family])
    source = ids_of(predictor, TEXT)
    options = {"do_sample": False, "num_beams": 1, "max_new_tokens": 7}
    options["suppress_tokens"] = sorted({PAD, predictor.model.config.start} - {END})  # as here
    most = 7 if family in ("gpt2", "llama") else 8  # a target's start token is one

    def written(**more: Any) -> str:
        found = theirs.generate(source, attention_mask=torch.ones_like(source), **options, **more)
        return predictor.tokenizer.decode(found[0], skip_special_tokens=True)

    (answer,) = answers(predictor, [{predictor.fields[0]: TEXT}], max_tokens=most)
    assert answer.prediction == written()
    # Left to themselves some of them say one word for ever.
    (varied,) = predictor.predict([TEXT], max_tokens=most, temperature=0.0, no_repeat_ngram=1)
    assert varied["prediction"] == written(no_repeat_ngram_size=1)
    assert len(varied["prediction"].split()) > 3


@pytest.mark.parametrize("family", ["bart", "t5", "marian"])
def test_the_weights_of_a_target_are_theirs(tmp_path: Path, family: str) -> None:
    theirs, predictor = both(tmp_path, WRITERS[family](), AROUND[family])
    (answer,) = answers(predictor, [{"source": TEXT}], max_tokens=8)
    source, labels = ids_of(predictor, TEXT), ids_of(predictor, answer.prediction)
    found = theirs(input_ids=source, labels=labels, output_attentions=True).cross_attentions
    top = found[-1][0].mean(0).detach().numpy()
    (one,) = explain(answer, ["weights"], {})
    assert one.scores == pytest.approx(by_word(predictor, top, answer.prediction, TEXT), abs=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_words_of_a_language_model_look_at_those_before_them(tmp_path: Path, family: str) -> None:
    theirs, predictor = both(tmp_path, WRITERS[family](), AROUND[family])
    (answer,) = answers(predictor, [{"text": TEXT}], max_tokens=5)
    assert answer.prediction.startswith(f"{TEXT} ")
    found = theirs(input_ids=ids_of(predictor, answer.prediction), output_attentions=True).attentions
    top = found[-1][0].mean(0).detach().numpy()
    (one,) = explain(answer, ["weights"], {})
    # The position before a word predicts it.
    shifted = by_word(predictor, np.roll(top, 1, axis=0), answer.prediction, answer.prediction)
    assert one.scores[1:] == pytest.approx(np.tril(shifted, -1)[1:], abs=1e-5)
    assert one.scores[1:].sum() > 0.1


def by_word(predictor: Predictor, weights: np.ndarray, output: str, source: str) -> np.ndarray:
    """The mean over pieces that look, the sum over pieces that are looked at."""

    def owners(text: str) -> list[int | None]:
        return predictor.tokenizer(text).word_ids()

    looks, seen = owners(output), owners(source)
    found = np.zeros((len(output.split()), len(source.split())))
    for query in range(len(found)):
        rows = weights[[number for number, owner in enumerate(looks) if owner == query]]
        for key in range(found.shape[1]):
            found[query, key] = rows[:, [number for number, owner in enumerate(seen) if owner == key]].sum(1).mean()
    return found


def test_a_class_is_theirs_and_so_are_the_weights(tmp_path: Path) -> None:
    theirs, predictor = both(tmp_path, bert("SequenceClassification", num_labels=5), AROUND["bert"])
    source = ids_of(predictor, TEXT)
    assert source.shape[1] == PIECES + 2
    found = theirs(input_ids=source, output_attentions=True)
    (answer,) = answers(predictor, [{"text": TEXT}])
    assert answer.prediction == f"LABEL_{int(found.logits.argmax())}"
    assert answer.answer["probability"] == pytest.approx(float(found.logits.softmax(-1).max()), abs=1e-5)
    (one,) = explain(answer, ["weights"], {})
    first = found.attentions[-1][0].mean(0)[:1].detach().numpy()
    assert one.scores == pytest.approx(by_word(predictor, np.repeat(first, 3, 0), "the", TEXT), abs=1e-5)


def test_an_answer_is_the_most_probable_span_of_theirs(tmp_path: Path) -> None:
    theirs, predictor = both(tmp_path, bert("QuestionAnswering"), AROUND["bert"])
    asked, about = ids_of(predictor, "the dog"), ids_of(predictor, CONTEXT)
    source = torch.cat((asked, about[:, 1:]), 1)
    segments = (torch.arange(source.shape[1]) >= asked.shape[1]).long()[None]
    found = theirs(input_ids=source, token_type_ids=segments, output_attentions=True)
    first = asked.shape[1]
    starts, ends = (logits[0, first:-1].tolist() for logits in (found.start_logits, found.end_logits))
    pairs = [(i, j) for i in range(len(starts)) for j in range(i, len(ends))]
    best = max(pairs, key=lambda pair: starts[pair[0]] + ends[pair[1]])
    places = predictor.tokenizer(CONTEXT, return_offsets_mapping=True)["offset_mapping"][1:-1]
    (said,) = predictor.predict([{"question": "the dog", "context": CONTEXT}], no_answer=-50.0)
    (sure,) = predictor.predict([{"question": "the dog", "context": CONTEXT}], no_answer=50.0)
    assert "" in (said["prediction"], sure["prediction"])
    assert CONTEXT[places[best[0]][0] : places[best[1]][1]] in (said["prediction"], sure["prediction"])
    (answer,) = answers(predictor, [{"question": "the dog", "context": CONTEXT}])
    (one,) = explain(answer, ["weights"], {})
    inside = answer.asked.said[0].tolist()
    rows = found.attentions[-1][0].mean(0).detach().numpy()[inside, first - 1 :]
    assert one.scores == pytest.approx(by_word(predictor, rows.mean(0)[None].repeat(3, 0), "the", CONTEXT), abs=1e-5)


@pytest.mark.parametrize("family", AROUND)
def test_every_method_and_the_page_work_with_every_family(tmp_path: Path, family: str) -> None:
    theirs = bert("SequenceClassification", num_labels=3) if family == "bert" else WRITERS[family]()
    _, predictor = both(tmp_path, theirs, AROUND[family])
    (answer,) = answers(predictor, [{predictor.fields[0]: TEXT}], max_tokens=8)
    found = explain(answer, list(METHODS), {})
    for one in found:
        if one.scores is None:  # T5 and a row of weights are fine; what is not defined says why
            assert one.reason
            continue
        assert one.scores.shape == (len(answer.outputs), len(answer.words))
        assert np.isfinite(one.scores).all()
        assert np.abs(one.scores).sum() > 0.0
    assert "text 1" in page([Told(tmp_path, predictor, "occlusion", [(answer, found)])])


def test_a_hidden_word_is_read_as_the_tokenizers_own_unknown_token(tmp_path: Path) -> None:
    theirs, predictor = both(tmp_path, bert("SequenceClassification", num_labels=5), AROUND["bert"])
    (answer,) = answers(predictor, [{"text": "the cat sees"}])
    hidden = torch.tensor([[BOS, 4, 0, 8, END]])
    shown = ids_of(predictor, "the cat sees")
    whole, without = (theirs(input_ids=ids).logits.log_softmax(-1)[0] for ids in (shown, hidden))
    (one,) = explain(answer, ["occlusion"], {})
    said = int(whole.argmax())
    assert float(one.scores[0, 1]) == pytest.approx((whole[said] - without[said]).item(), abs=1e-5)


def test_a_text_that_is_too_long_is_read_up_to_a_whole_word(tmp_path: Path) -> None:
    _, predictor = both(tmp_path, bert("SequenceClassification", num_labels=5), AROUND["bert"])
    long = " ".join(["cat"] * 20 + ["smaller", "dogs"])  # 23 positions, two of them for special tokens
    (answer,) = answers(predictor, [{"text": long}])
    assert answer.words == ["cat"] * 20
    assert answer.notes == [
        "The text is too long for the model, which has read only the first 20 of its 22 words."
    ]  # fmt: skip


def test_several_labels_are_decided_each_by_itself(tmp_path: Path) -> None:
    several = bert("SequenceClassification", num_labels=3, problem_type="multi_label_classification")
    theirs, predictor = both(tmp_path, several, AROUND["bert"])
    shares = theirs(input_ids=ids_of(predictor, TEXT)).logits[0].sigmoid().tolist()
    (answer,) = answers(predictor, [{"text": TEXT}])
    assert answer.answer["prediction"] == [f"LABEL_{n}" for n, share in enumerate(shares) if share >= 0.5]


def changed(at: Path, name: str, **values: Any) -> None:
    file = at / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize("family", WRITERS)
def test_the_demo_shows_what_it_writes_and_where_it_looks(tmp_path: Path, family: str) -> None:
    saved(tmp_path, WRITERS[family](), AROUND[family])
    predictor = Predictor(tmp_path)
    search = {"temperature": 0.0, "max_tokens": 20} if "text" in predictor.fields else {}
    said = {"inputs": {predictor.fields[0]: TEXT}, "options": search}
    shown = application(predictor, []).test_client().post("/predict", json=said).json
    assert shown["prediction"] == predictor.predict([TEXT], **search)[0]["prediction"]
    assert shown["maps"][0]["keys"][: len(TEXT.split())] == TEXT.split()


def without_weights(at: Path) -> None:
    (at / "model.safetensors").unlink()


def without_a_head(at: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(at / "model.safetensors")
    save_file({n: t for n, t in tensors.items() if "classifier" not in n}, at / "model.safetensors", {"format": "pt"})


def slow(at: Path) -> None:
    import transformers

    (at / "tokenizer.json").unlink()
    (at / "vocab.json").write_text(json.dumps({"<unk>": 0, "a": 1}))
    changed(at, "tokenizer_config.json", tokenizer_class="CTRLTokenizer")
    assert transformers.CTRLTokenizer is not None
    (at / "merges.txt").write_text("#version: 0.2\n")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda at: changed(at, "config.json", architectures=["BertForMaskedLM"]), "holds BertForMaskedLM; the models"),
        (lambda at: (at / "config.json").write_text("[]"), r"config\.json cannot be read \(it is no JSON object\)"),
        (without_weights, "holds no weights that can be read"),
        (lambda at: (at / "model.safetensors").write_bytes(b"version https"), "holds no weights that can be read"),
        (without_a_head, r"lacks weights of BertForSequenceClassification \(classifier.bias"),
        (lambda at: (at / "tokenizer.json").write_text("{"), "holds no tokenizer that can be read"),
        (slow, "is a slow one, which does not say where its tokens stand in the text; save a fast one"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, spoil: Callable[[Path], Any], sentence: str) -> None:
    saved(tmp_path, bert("SequenceClassification", num_labels=5), AROUND["bert"])
    assert borrowed.is_one(tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=sentence):
        Predictor(tmp_path)


def test_a_number_is_no_class(tmp_path: Path) -> None:
    at = saved(tmp_path, bert("SequenceClassification", num_labels=1), AROUND["bert"])
    with pytest.raises(InputError, match="has 1 label: it predicts a number, not a class"):
        Predictor(at)
