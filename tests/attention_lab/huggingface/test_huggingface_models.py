"""The project's models in the classes of transformers: files, texts, losses and pipelines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from searched import best_targets
from test_models import END, PAD, START, VOCABULARY, config
from transformers import (
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
    pipeline,
)

from attention_lab import params, vocabulary
from attention_lab.attention import CATALOGUE
from attention_lab.batching import Batch
from attention_lab.decoding import Rules, TextState, hypotheses
from attention_lab.errors import InputError
from attention_lab.huggingface import LabForCausalLM, LabForQuestionAnswering, LabForSeq2SeqLM
from attention_lab.inference import Predictor
from attention_lab.tasks import TASKS
from attention_lab.transformer import build, load, save

ROOT = Path(__file__).parents[3]
AUTO = {
    "encoder_decoder": AutoModelForSeq2SeqLM,
    "decoder": AutoModelForCausalLM,
    "classifier": AutoModelForSequenceClassification,
    "spans": AutoModelForQuestionAnswering,
}


def model(architecture: str = "encoder_decoder", **changes: Any) -> Any:
    """With large weights, so that it says different things."""
    torch.manual_seed(3)
    labels = ("bad", "fair", "good") if architecture == "classifier" else ()
    built = build(config(architecture=architecture, labels=labels, **changes)).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.4)
    return built


def texts(rows: int = 3, length: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, padded at the end."""
    tokens = torch.randint(5, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(tokens)
    tokens[1, 4:], mask[1, 4:] = PAD, 0
    return tokens, mask


def same(ours: Any, theirs: Any) -> bool:
    pairs = zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True)
    return all(left[0] == right[0] and torch.equal(left[1], right[1]) for left, right in pairs)


OWN = {"target_vocabulary": 23}
KINDS: list[dict[str, Any]] = [{}, {"copy": True}, OWN, OWN | {"tied": False}]


@pytest.mark.parametrize(
    ("architecture", "changes"), [*((name, {}) for name in AUTO), *(("encoder_decoder", kind) for kind in KINDS[1:])]
)
def test_files_go_both_ways_to_the_bit(architecture: str, changes: dict[str, Any], tmp_path: Path) -> None:
    ours = model(architecture, **changes)
    save(ours, tmp_path / "ours")
    theirs = AUTO[architecture].from_pretrained(tmp_path / "ours")
    assert same(ours, theirs.transformer)
    theirs.save_pretrained(tmp_path / "theirs")
    assert same(ours, load(tmp_path / "theirs"))
    assert load(tmp_path / "theirs").config == ours.config
    assert same(ours, AUTO[architecture].from_pretrained(tmp_path / "theirs").transformer)
    if architecture == "classifier":
        assert theirs.config.id2label == {0: "bad", 1: "fair", 2: "good"}


@pytest.mark.parametrize(("architecture", "changes"), [*((name, {}) for name in AUTO), ("encoder_decoder", KINDS[1])])
def test_a_vocabulary_can_be_given_more_entries(architecture: str, changes: dict[str, Any], tmp_path: Path) -> None:
    save(model(architecture, **changes), tmp_path / "ours")
    theirs = AUTO[architecture].from_pretrained(tmp_path / "ours")
    (tokens, mask), before = texts(), theirs.get_input_embeddings().weight.detach().clone()
    given = {"input_ids": tokens, "attention_mask": mask}
    if architecture == "encoder_decoder":
        given["decoder_input_ids"] = tokens
    expected = theirs(**given)[0]
    assert theirs.resize_token_embeddings(VOCABULARY + 3) is theirs.get_input_embeddings()
    assert torch.equal(theirs.get_input_embeddings().weight[:VOCABULARY], before)
    if architecture == "decoder":
        torch.testing.assert_close(theirs(**given)[0][..., :VOCABULARY], expected)
    tokens[0, 1] = VOCABULARY + 2
    assert theirs(**given)[0].isfinite().all()
    theirs.save_pretrained(tmp_path / "theirs")
    assert same(load(tmp_path / "theirs"), theirs.transformer)
    assert load(tmp_path / "theirs").config.vocabulary == theirs.config.vocab_size == VOCABULARY + 3


@pytest.mark.parametrize("changes", [{"tied": False}, OWN])
def test_who_writes_with_other_vectors_keeps_its_vocabulary(changes: dict[str, Any]) -> None:
    theirs = LabForSeq2SeqLM.of(model(**changes))
    assert theirs.get_input_embeddings() is theirs.transformer.embedding.tokens
    with pytest.raises(InputError, match=r"cannot be resized; take one that was trained with model\.tied=true"):
        theirs.resize_token_embeddings(VOCABULARY + 3)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_mechanism_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    """Some draw numbers or count with them while they are made; a model of transformers is made without memory."""
    ours = model(mechanism=name, width=16, heads=4)
    save(ours, tmp_path)
    assert same(ours, AutoModelForSeq2SeqLM.from_pretrained(tmp_path).transformer)


def test_a_new_process_needs_the_import_alone(tmp_path: Path) -> None:
    save(model("decoder"), tmp_path)
    code = (
        "import sys, attention_lab.huggingface\nfrom transformers import AutoModelForCausalLM\n"
        "print(type(AutoModelForCausalLM.from_pretrained(sys.argv[1])).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "LabForCausalLM"


@pytest.mark.parametrize("changes", KINDS[:3])
@pytest.mark.parametrize("beams", [1, 3])
def test_generate_says_what_our_search_says_with_and_without_cache(beams: int, changes: dict[str, Any]) -> None:
    ours, (source, mask) = model(**changes), texts()
    theirs = LabForSeq2SeqLM.of(ours)
    assert theirs.config.vocab_size == changes.get("target_vocabulary", VOCABULARY)
    expected, _ = best_targets(ours, source, mask.bool(), beams=beams, length_penalty=1.0, max_tokens=10)
    for cached in (True, False):
        found = theirs.generate(
            input_ids=source, attention_mask=mask, num_beams=beams, do_sample=False, max_new_tokens=9, use_cache=cached
        )
        said = [[token for token in row if token not in (START, END, PAD)] for row in found.tolist()]
        assert said == expected
    assert len({tuple(row) for row in expected}) > 1


def test_a_language_model_generates_after_prompts_of_one_length(tmp_path: Path) -> None:
    ours, prompts = model("decoder"), texts(2, 4)[0]
    save(ours, tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    expected = hypotheses(TextState(ours), prompts, Rules.of(ours.config), beams=1, length_penalty=1.0, max_tokens=6)
    for cached in (True, False):
        found = theirs.generate(prompts, max_new_tokens=6, do_sample=False, use_cache=cached)
        said = [[token for token in row if token not in (END, PAD)] for row in found[:, 4:].tolist()]
        assert said == [best[0].tokens for best in expected]


def left(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, padded before the texts."""
    tokens = torch.tensor([[PAD] * (max(map(len, rows)) - len(row)) + list(row) for row in rows])
    return tokens, (tokens != PAD).long()


PROMPTS = [[7, 5, 9, 6, 8], [10, 6], [6, 8, 7, 7, 5], [9, 9, 10]]


@pytest.mark.parametrize(
    ("name", "position"),
    [
        *((row.name, "sinusoidal") for row in CATALOGUE.values() if "decoder_self" in row.places),
        ("scaled_dot_product", "learned"),
        ("scaled_dot_product", "rotary"),
    ],
)
def test_each_text_of_a_batch_is_gone_on_with_as_if_it_were_alone(name: str, position: str) -> None:
    theirs = LabForCausalLM.of(model("decoder", mechanism=name, position=position, width=16, heads=4))
    tokens, mask = left(PROMPTS)
    for beams, caches in ((1, (True, False)), (3, (True,))):
        options = {"do_sample": False, "max_new_tokens": 5, "min_new_tokens": 5, "num_beams": beams}
        alone = [theirs.generate(torch.tensor([row]), **options)[0, len(row) :].tolist() for row in PROMPTS]
        for cached in caches:
            together = theirs.generate(tokens, attention_mask=mask, use_cache=cached, **options)
            assert together[:, tokens.shape[1] :].tolist() == alone


def test_what_is_padded_on_the_left_is_said_of_the_texts_alone() -> None:
    theirs, (tokens, mask) = LabForCausalLM.of(model("decoder")), left(PROMPTS)
    found = theirs(tokens, attention_mask=mask, labels=tokens.masked_fill(mask == 0, -100), output_attentions=True)
    total = 0.0
    for row, prompt in enumerate(PROMPTS):
        ids = torch.tensor([prompt])
        alone = theirs(ids, labels=ids, output_attentions=True)
        total += float(alone.loss.detach()) * (len(prompt) - 1)
        torch.testing.assert_close(found.logits[row, -len(prompt) :], alone.logits[0])
        for together, own in zip(found.attentions, alone.attentions, strict=True):
            torch.testing.assert_close(together[row, :, -len(prompt) :, -len(prompt) :], own[0])
            assert not together[row, :, :, : -len(prompt)].any()
    assert float(found.loss.detach()) == pytest.approx(total / sum(len(prompt) - 1 for prompt in PROMPTS))


@pytest.mark.parametrize("cached", [True, False])
def test_a_text_is_not_gone_on_with_behind_its_padding(cached: bool) -> None:
    tokens, mask = texts()
    for given in ({}, {"attention_mask": mask}):
        with pytest.raises(InputError, match=r"padded on the right.*; give the tokenizer padding_side='left'"):
            LabForCausalLM.of(model("decoder")).generate(tokens, **given, max_new_tokens=2, use_cache=cached)


@pytest.mark.parametrize("masked", [True, False])
def test_without_tokens_there_is_a_sentence(masked: bool) -> None:
    ours, (tokens, mask) = LabForSeq2SeqLM.of(model()), texts()
    with pytest.raises(InputError, match="the model needs input_ids"):
        ours(attention_mask=mask if masked else None, labels=tokens)
    with pytest.raises(InputError, match="the model needs input_ids"):
        ours.generate(
            inputs_embeds=ours.get_input_embeddings()(tokens), attention_mask=mask if masked else None, max_new_tokens=2
        )
    with pytest.raises(InputError, match="the model needs decoder_input_ids or labels"):
        ours(input_ids=tokens)


def test_what_would_change_the_answer_is_not_ignored() -> None:
    ours, (tokens, mask) = LabForSeq2SeqLM.of(model()), texts()
    for name, value in (("output_hidden_states", True), ("position_ids", tokens)):
        with pytest.raises(InputError, match=f"the model takes no {name}; leave it out"):
            ours(tokens, mask, labels=tokens, **{name: value})
    with pytest.raises(InputError, match="the model takes no output_hidden_states"):
        ours.generate(tokens, attention_mask=mask, max_new_tokens=2, output_hidden_states=True,
                      return_dict_in_generate=True)  # fmt: skip
    with pytest.raises(InputError, match="the model takes no inputs_embeds"):
        LabForCausalLM.of(model("decoder"))(inputs_embeds=torch.zeros(1, 2, 8))
    assert ours(tokens, mask, labels=tokens, output_hidden_states=False, position_ids=None).loss.isfinite()


@pytest.mark.parametrize("architecture", ["encoder_decoder", "decoder"])
def test_tokens_that_would_be_taken_back_are_not_guessed(architecture: str) -> None:
    ours = (LabForCausalLM if architecture == "decoder" else LabForSeq2SeqLM).of(model(architecture))
    tokens = torch.tensor([[5, 6, 7]])
    for asked in ({"assistant_model": ours}, {"prompt_lookup_num_tokens": 2}):
        with pytest.raises(InputError, match=r"cannot take back tokens .*; leave out assistant_model and prompt"):
            ours.generate(tokens, max_new_tokens=3, **asked)


def test_losses_are_those_of_our_tasks() -> None:
    tokens, mask = texts()
    target = torch.cat((torch.full((3, 1), START), tokens), 1)
    labels = tokens.masked_fill(tokens == PAD, -100)
    for changes in KINDS:
        ours = model(**changes)
        known = ours.config.written - 1
        batch = Batch([0] * 3, tokens, mask.bool(), target.clamp(max=known))
        expected = TASKS["translation"].loss(ours, batch, 0.0)
        found = LabForSeq2SeqLM.of(ours)(input_ids=tokens, attention_mask=mask, labels=labels.clamp(max=known)).loss
        torch.testing.assert_close(found, expected.nll / mask.sum())

    ours = model("decoder")
    expected = TASKS["generation"].loss(ours, Batch([0] * 3, tokens, mask.bool()), 0.0)
    found = LabForCausalLM.of(ours)(input_ids=tokens, attention_mask=mask, labels=labels).loss
    torch.testing.assert_close(found, expected.nll / mask[:, 1:].sum())


def test_the_loss_of_an_answer_is_the_mean_of_its_two_ends() -> None:
    tokens, mask = texts()
    ours, start, end = model("spans"), torch.tensor([1, 0, 4]), torch.tensor([2, 3, 6])
    found = LabForQuestionAnswering.of(ours)(
        input_ids=tokens, attention_mask=mask, start_positions=start, end_positions=end, output_attentions=True
    )
    logits, _ = ours(tokens, mask.bool())
    shares = logits.log_softmax(-1)
    expected = -(shares[range(3), 0, start] + shares[range(3), 1, end]).mean() / 2.0
    torch.testing.assert_close(found.loss, expected)
    assert [weights.shape for weights in found.attentions] == [(3, 3, 7, 7)] * 2


def test_who_copies_has_to_know_the_source() -> None:
    tokens, mask = texts()
    for copy in (False, True):
        theirs = LabForSeq2SeqLM.of(model(copy=copy))
        whole = theirs(input_ids=tokens, attention_mask=mask, decoder_input_ids=tokens[:, :5])
        given = {"encoder_outputs": (whole.encoder_last_hidden_state,), "attention_mask": mask}
        given["decoder_input_ids"] = tokens[:, :5]
        torch.testing.assert_close(theirs(input_ids=tokens, **given).logits, whole.logits)
        if not copy:
            torch.testing.assert_close(theirs(**given).logits, whole.logits)
    with pytest.raises(InputError, match="copies tokens of its source; give input_ids"):
        theirs(**given)


def test_several_labels_are_decided_one_by_one(tmp_path: Path) -> None:
    words = tokenizer()
    ours = model("classifier", task="multi_label", vocabulary=len(words))
    save(ours, tmp_path)
    vocabulary.save(words, tmp_path)
    ids = torch.tensor([words("the old dog")["input_ids"]])
    logits, _ = ours(ids, torch.ones_like(ids, dtype=torch.bool))
    has = torch.tensor([[1.0, 0.0, 1.0]])
    found = AutoModelForSequenceClassification.from_pretrained(tmp_path)(input_ids=ids, labels=has)
    batch = Batch([0], ids, torch.ones_like(ids, dtype=torch.bool), label=has.bool())
    torch.testing.assert_close(found.loss, TASKS["multi_label"].loss(ours, batch, 0.0).nll / 3)
    (shares,) = pipeline("text-classification", model=str(tmp_path))(["the old dog"], top_k=None)
    by_name = {one["label"]: one["score"] for one in shares}
    assert [by_name[name] for name in ("bad", "fair", "good")] == pytest.approx(logits[0].sigmoid().tolist(), abs=1e-5)


FIVE = {number: f"class {number}" for number in range(5)}


@pytest.mark.parametrize("wanted", [{"num_labels": 5}, {"id2label": FIVE}])
def test_other_classes_need_another_head(wanted: dict[str, Any], tmp_path: Path) -> None:
    save(model("classifier"), tmp_path / "three")
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "three", **wanted)
    torch.manual_seed(0)
    theirs = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "three", ignore_mismatched_sizes=True, **wanted
    )
    head = theirs.transformer.classes
    assert head.weight.abs().max() <= (6 / (12 + 5)) ** 0.5  # Glorot & Bengio 2010, equation 16
    assert len(head.weight.unique()) == 5 * 12
    assert not head.bias.any()
    assert torch.equal(theirs.get_input_embeddings().weight, load(tmp_path / "three").embedding.tokens.weight)
    theirs.save_pretrained(tmp_path / "five")
    assert same(load(tmp_path / "five"), theirs.transformer)
    names = FIVE if "id2label" in wanted else {number: f"LABEL_{number}" for number in range(5)}
    assert load(tmp_path / "five").config.labels == tuple(names.values())
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "five").config.id2label == names


def test_classes_of_another_name_are_the_same_classes(tmp_path: Path) -> None:
    ours, names = model("classifier"), {0: "x", 1: "y", 2: "z"}
    save(ours, tmp_path / "ours")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours", id2label=names)
    assert same(ours, theirs.transformer)
    theirs.save_pretrained(tmp_path / "theirs")
    assert load(tmp_path / "theirs").config.labels == ("x", "y", "z")


def test_attention_comes_back() -> None:
    tokens, mask = texts()
    found = LabForSeq2SeqLM.of(model())(
        input_ids=tokens, attention_mask=mask, decoder_input_ids=tokens[:, :5], output_attentions=True
    )
    assert [weights.shape for weights in found.cross_attentions] == [(3, 3, 5, 7)] * 2
    assert [weights.shape for weights in found.encoder_attentions] == [(3, 3, 7, 7)] * 2
    assert (found.decoder_attentions[0].triu(1) == 0.0).all()
    assert (found.cross_attentions[1][1, :, :, 4:] == 0.0).all()


@torch.no_grad()
def test_generate_returns_the_attention_of_encoder_and_decoder() -> None:
    (tokens, mask), theirs = texts(), LabForSeq2SeqLM.of(model())
    found = theirs.generate(
        tokens, attention_mask=mask, max_new_tokens=4, return_dict_in_generate=True, output_attentions=True
    )
    again = theirs(
        input_ids=tokens, attention_mask=mask, decoder_input_ids=found.sequences[:, :-1], output_attentions=True
    )
    for one, other in zip(found.encoder_attentions, again.encoder_attentions, strict=True):
        torch.testing.assert_close(one, other)
    for layer, whole in enumerate(again.cross_attentions):
        torch.testing.assert_close(torch.cat([step[layer] for step in found.cross_attentions], 2), whole)


def tokenizer() -> Any:
    options = params.load(ROOT / "params.yaml").vocab.model_copy(update={"min_frequency": 1})
    return vocabulary.train(["the old dog sees a small cat and sleeps"], options, None)


def test_pipelines_of_transformers_take_the_folder(tmp_path: Path) -> None:
    words = tokenizer()
    ours = model("classifier", vocabulary=len(words))
    save(ours, tmp_path)
    vocabulary.save(words, tmp_path)
    ids = torch.tensor([words("the old dog")["input_ids"]])
    logits, _ = ours(ids, torch.ones_like(ids, dtype=torch.bool))
    (found,) = pipeline("text-classification", model=str(tmp_path))("the old dog")
    assert found["label"] == ("bad", "fair", "good")[int(logits.argmax())]
    assert found["score"] == pytest.approx(float(logits.softmax(-1).max().detach()), abs=1e-5)


def test_a_pipeline_goes_on_with_a_text_as_we_do(tmp_path: Path) -> None:
    words = tokenizer()
    save(model("decoder", task="generation", vocabulary=len(words)), tmp_path)
    vocabulary.save(vocabulary.for_prompts(words), tmp_path)
    prompts = ["the old dog", "a cat", "sees a small cat and"]
    expected = [found["prediction"] for found in Predictor(tmp_path).predict(prompts, temperature=0.0, max_tokens=5)]
    goes_on = pipeline("text-generation", model=str(tmp_path), max_new_tokens=5, do_sample=False)
    for size in (1, 3):
        assert [found["generated_text"] for (found,) in goes_on(prompts, batch_size=size)] == expected
    assert all(len(text) > len(prompt) for text, prompt in zip(expected, prompts, strict=True))
    words, theirs = AutoTokenizer.from_pretrained(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path)
    (written,) = theirs.generate(**words(prompts[0], return_tensors="pt"), max_new_tokens=5, do_sample=False)
    assert words.decode(written, skip_special_tokens=True) == f" {expected[0]}"


def test_smoothed_labels_of_the_trainer_are_those_of_the_next_token(tmp_path: Path) -> None:
    """Trainer takes the labels out of the inputs, and has to know that a language model says the next one."""
    torch.manual_seed(0)
    words = tokenizer()
    rows = [dict(words("the old dog sees a cat")) for _ in range(2)]
    arguments = TrainingArguments(
        output_dir=str(tmp_path), label_smoothing_factor=1e-9, report_to=[], use_cpu=True
    )  # fmt: skip
    language = LabForCausalLM.of(build(config(architecture="decoder", task="generation", vocabulary=len(words))))
    ids = torch.tensor([row["input_ids"] for row in rows])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    plain = language.eval()(**batch).loss
    smoothed = Trainer(language, arguments).compute_loss(language, dict(batch))
    torch.testing.assert_close(smoothed, plain, rtol=1e-4, atol=1e-5)
    writer = LabForSeq2SeqLM.of(build(config(vocabulary=len(words), width=24))).eval()
    collated = DataCollatorForSeq2Seq(words, model=writer)([{**row, "labels": row["input_ids"][1:]} for row in rows])
    plain = writer(**{name: collated[name] for name in ("input_ids", "attention_mask", "labels")}).loss
    torch.testing.assert_close(
        Trainer(writer, arguments).compute_loss(writer, dict(collated)), plain, rtol=1e-4, atol=1e-5
    )  # fmt: skip


def test_the_trainer_of_transformers_trains_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    words = tokenizer()
    theirs = LabForSeq2SeqLM.of(build(config(vocabulary=len(words), width=24)))
    rows = [
        {"input_ids": words(text)["input_ids"], "labels": words(text)["input_ids"][1:]}
        for text in ("the old dog sees a cat", "a cat sleeps", "the small dog and a cat", "the dog sees the old cat")
        * 8
    ]
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=60, per_device_train_batch_size=8, learning_rate=1e-2, report_to=[],
        logging_steps=10, save_strategy="no", use_cpu=True, seed=1, disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(theirs, arguments, train_dataset=rows, data_collator=DataCollatorForSeq2Seq(words, padding=True))
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.3 * losses[0]
