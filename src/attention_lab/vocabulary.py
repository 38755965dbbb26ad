"""Tokenizers trained here, as fast Hugging Face tokenizers, and label sets.

Every kind except `character`, which takes each character as it is, reads a text the same way: a space is prepended, the
text is split into words and single punctuation marks, and a space stays with what follows it
("Hi, (you" -> " Hi" "," " (" "you"). So joining the tokens restores the text exactly, without a reserved character for
the space: "▁", "##" or "<s>" in a user's text are ordinary characters, and special tokens exist only as ids. All text
columns of a task share one tokenizer, or the target has its own, whose files are in the subfolder `target`.

    text -> normaliser -> " " + text -> pre-tokens -> pieces -> <s> pieces </s>

The files in the folder of a language model encode a text as <s> pieces, without </s>, because transformers continues a
text exactly as it is encoded (`for_prompts`). `load` always returns a tokenizer for complete texts.
"""

from __future__ import annotations

import copy
import io
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from attention_lab import params, records
from attention_lab.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, UNK, BOS, EOS, MASK = "<pad>", "<unk>", "<s>", "</s>", "<mask>"
SPECIALS = (PAD, UNK, BOS, EOS, MASK)  # ids 0 to 4
PAD_ID, UNK_ID, BOS_ID, EOS_ID, MASK_ID = range(5)

# Words and single marks, each with the one space before it; other whitespace characters stand alone. Together the three
# branches match every character, so nothing is lost.
WORDS = r" ?[^\s\p{P}\p{S}]+| ?[\p{P}\p{S}]|\s"
CHARACTERS = r"(?m:.)"
FILES = ("tokenizer.json", "tokenizer_config.json")
TARGET = "target"


def train(
    texts: Iterable[str], params: params.Vocab, normaliser: normalizers.Normalizer | None
) -> PreTrainedTokenizerFast:
    """Train a tokenizer of the kind `params.tokenizer`; the same texts give the same bytes.

    Characters (with `word`: words) that occur fewer than `min_frequency` times become <unk>. `size` includes the
    special tokens; `word` and `character` keep the most frequent entries, the other kinds need room for all characters.

    Raises:
        InputError: there is no such kind, no text, nothing frequent enough, or `size` is too small for the characters.
    """
    kind = params.tokenizer
    if kind not in KINDS:
        raise InputError(f"there is no tokenizer {kind!r}; vocab.tokenizer is one of {', '.join(KINDS)}")
    words = _count_words(texts, normaliser, kind)
    if not words:
        raise InputError("there is no training text to build a vocabulary from; check data.source and clean")
    alphabet = _alphabet(words, params.min_frequency)
    if not alphabet:
        raise InputError(
            f"no character occurs {params.min_frequency} times in the training texts; lower vocab.min_frequency"
        )
    backend = Tokenizer(KINDS[kind](words, alphabet, params))
    _dress(backend, kind, normaliser)
    if (entries := backend.get_vocab_size()) > params.size:
        raise _too_small(kind, params.size, entries)
    return _wrap(backend)


def labels(cells: Iterable[object]) -> list[str]:
    """The sorted set of labels in cells that hold one label or a list; integers are sorted numerically."""
    found = {label for cell in cells for label in records.labels(cell)}
    numeric = all(re.fullmatch(r"-?\d+", label) for label in found)
    return sorted(found, key=lambda label: (int(label), label)) if numeric else sorted(found)


def save(
    tokenizer: PreTrainedTokenizerFast, directory: Path, target_tokenizer: PreTrainedTokenizerFast | None = None
) -> None:
    """Write tokenizer.json and tokenizer_config.json, each atomically, and those of the target's own tokenizer in its
    subfolder. Without one, files left there from before are removed."""
    _save(tokenizer, directory)
    if target_tokenizer is not None:
        _save(target_tokenizer, directory / TARGET)
    elif (directory / TARGET / FILES[0]).exists():
        shutil.rmtree(directory / TARGET)


def _save(tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    backend(tokenizer)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".tokenizer.") as temporary:
        tokenizer.save_pretrained(temporary)
        config = Path(temporary) / "tokenizer_config.json"
        settings = json.loads(config.read_text(encoding="utf-8"))
        # Drop settings that record how it was loaded, so that saving a loaded tokenizer gives the same bytes.
        settings = {name: value for name, value in settings.items() if name not in ("is_local", "local_files_only")}
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # a name that every version of transformers knows
        config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        for name in FILES:
            (Path(temporary) / name).replace(directory / name)


def load(directory: Path) -> PreTrainedTokenizerFast:
    """Load a tokenizer that `save` wrote, for complete texts.

    Raises:
        InputError: files are missing or damaged.
    """
    from transformers import PreTrainedTokenizerFast

    for name in FILES:
        if not (directory / name).is_file():
            raise InputError(f"{directory / name}: there is no such file; `dvc repro vocab` makes it")
    try:
        found = PreTrainedTokenizerFast.from_pretrained(str(directory), local_files_only=True)
    except (OSError, ValueError) as error:  # an incomplete copy
        reason = " ".join(str(error).split())
        raise InputError(
            f"{directory} holds a tokenizer that cannot be read ({reason}); copy all of its files again or run `dvc "
            "repro vocab`"
        ) from None
    return _set(found, whole=True)


def for_prompts(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A copy that encodes prompts for a language model in transformers: without </s>, with padding on the left, so that
    the continuation directly follows the prompt, and keeping the space before its first word when decoding."""
    return _set(copy.deepcopy(tokenizer), whole=False)


def _set(tokenizer: PreTrainedTokenizerFast, *, whole: bool) -> PreTrainedTokenizerFast:
    """Set the tokenizer up, in place, for complete texts, or for prompts and their continuations."""
    inside = backend(tokenizer)
    inside.post_processor = _template(whole=whole)
    parts = json.loads(inside.to_str())
    for step in parts["decoder"]["decoders"]:
        if step["type"] == "Strip":
            step["start"] = int(whole)
    inside.decoder = Tokenizer.from_str(json.dumps(parts)).decoder
    tokenizer.padding_side = "right" if whole else "left"
    return tokenizer


def load_target(directory: Path) -> PreTrainedTokenizerFast | None:
    """Load the target's own tokenizer that `save` wrote; None: source and target share one.

    Raises:
        InputError: files are missing.
    """
    return load(directory / TARGET) if (directory / TARGET).is_dir() else None


def backend(tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    """The underlying tokenizer, with padding and truncation off: calling a tokenizer with `padding=True` or
    `truncation=True` leaves them on for later calls."""
    found: Tokenizer = tokenizer.backend_tokenizer
    found.no_padding()
    found.no_truncation()
    return found


def behind(tokenizer: PreTrainedTokenizerFast) -> int | None:
    """The special token that the tokenizer appends to a text; None: it appends none."""
    found = backend(tokenizer).encode("a")
    return int(found.ids[-1]) if found.ids and found.special_tokens_mask[-1] else None


def unknown(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token that reveals least of what it replaces: that for unknown words, else mask, padding or end.

    Raises:
        InputError: the tokenizer has none of these.
    """
    for number in (tokenizer.unk_token_id, tokenizer.mask_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id):
        if number is not None:
            return int(number)
    raise InputError("the tokenizer has no token for unknown words, masks, padding or the end; give it an unk_token")


def save_labels(names: list[str], directory: Path) -> None:
    """Write labels.json: the class names in the order of their numbers."""
    text = json.dumps(names, ensure_ascii=False, indent=2) + "\n"
    records.write_bytes(text.encode(), directory / "labels.json")


def load_labels(directory: Path) -> list[str]:
    """Read labels.json; its list is empty for a task without classes."""
    names: list[str] = json.loads((directory / "labels.json").read_text(encoding="utf-8"))
    return names


def words(encoding_offsets: Sequence[tuple[int, int]], text: str) -> list[int | None]:
    """The word of `text.split(" ")`, from 0, that each token belongs to; None for special tokens and padding.

    A space belongs to the word that follows it. Offsets are in characters of `text`, as a tokenizer returns them for
    `return_offsets_mapping=True`.
    """
    before = [0]  # spaces among the first i characters
    for character in text:
        before.append(before[-1] + (character == " "))
    return [before[end] if end > start else None for start, end in encoding_offsets]


def unknown_share(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> float:
    """The share of <unk> among the tokens of `texts`, not counting special tokens; 0.0 if there are no tokens."""
    total = unknown = 0
    texts = list(texts)
    for start in range(0, len(texts), 10_000):
        for encoding in backend(tokenizer).encode_batch_fast(texts[start : start + 10_000], add_special_tokens=False):
            ids = encoding.ids
            total += len(ids)
            unknown += ids.count(UNK_ID)
    return unknown / total if total else 0.0


def unknown_words(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], most: int) -> list[str]:
    """The parts of `texts` that most often became <unk>, at most `most` of them."""
    found: Counter[str] = Counter()
    for text in texts:
        encoding = backend(tokenizer).encode(text, add_special_tokens=False)
        for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if number == UNK_ID:
                found[text[start:end].strip()] += 1
    return sorted(found, key=lambda part: (-found[part], part))[:most]


def _word_level(words: Counter[str], alphabet: list[str], params: params.Vocab) -> models.Model:
    """One entry per word (or per character, for that kind): the most frequent ones, ties in alphabetical order."""
    known = [(word, count) for word, count in words.items() if count >= params.min_frequency]
    known.sort(key=lambda item: (-item[1], item[0]))
    entries = [*SPECIALS, *(word for word, _ in known)][: params.size]
    return models.WordLevel({entry: i for i, entry in enumerate(entries)}, unk_token=UNK)


def _bpe(words: Counter[str], alphabet: list[str], params: params.Vocab) -> models.Model:
    """Sennrich et al. 2016, https://arxiv.org/abs/1508.07909: repeatedly merge the most frequent pair."""
    _needs_room(alphabet, params)
    return _trained(words, models.BPE(unk_token=UNK), trainers.BpeTrainer(
        vocab_size=params.size, min_frequency=params.min_frequency, special_tokens=list(SPECIALS),
        limit_alphabet=len(alphabet), show_progress=sys.stderr.isatty(),
    )).model  # fmt: skip


def _wordpiece(words: Counter[str], alphabet: list[str], params: params.Vocab) -> models.Model:
    """Pieces learned by merging, applied by longest match first (Wu et al. 2016, https://arxiv.org/abs/1609.08144).

    The trainer numbers continuing characters in the order of a randomly seeded hash map, and breaks ties between merges
    by these numbers. Passing them as special tokens in a fixed order makes it deterministic.
    """
    continuing = [f"##{character}" for character in alphabet]
    _needs_room([*alphabet, *continuing], params)
    trained = _trained(words, models.WordPiece(unk_token=UNK), trainers.WordPieceTrainer(
        vocab_size=params.size, min_frequency=params.min_frequency, special_tokens=[*SPECIALS, *continuing],
        limit_alphabet=len(alphabet), show_progress=sys.stderr.isatty(),
    ))  # fmt: skip
    # By default a run of more than 100 characters, as in scripts without spaces, becomes a single unknown token.
    return models.WordPiece(trained.get_vocab(), unk_token=UNK, max_input_chars_per_word=2**31 - 1)


def _unigram(words: Counter[str], alphabet: list[str], params: params.Vocab) -> models.Model:
    """Kudo 2018, https://arxiv.org/abs/1804.10959: the pieces that make the words most probable.

    Trained by sentencepiece, because the trainer of `tokenizers` iterates over a randomly seeded hash map and gives
    different scores in every run. sentencepiece writes "▁" for a space; here it becomes a space again.
    """
    import sentencepiece

    _needs_room(alphabet, params)
    known = set(alphabet)
    lines = [f"{word}\t{count}" for word, count in sorted(words.items()) if word.strip() and known.issuperset(word)]
    if not lines:
        raise InputError("vocab: no word of the training texts is frequent enough; lower vocab.min_frequency")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, input_format="tsv", model_type="unigram",
        vocab_size=params.size - len(SPECIALS) + 1, hard_vocab_limit=False, character_coverage=1.0,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
        split_by_unicode_script=False, split_by_number=False, max_sentence_length=2**20, num_threads=1,
        unk_id=0, bos_id=-1, eos_id=-1, pad_id=-1, minloglevel=2,
    )  # fmt: skip
    trained = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = {trained.id_to_piece(i).replace("▁", " "): trained.get_score(i) for i in range(1, len(trained))}
    least = min(pieces.values(), default=0.0)
    for character in alphabet:  # a literal "▁", and characters that sentencepiece leaves out
        pieces.setdefault(character, least)
    # Single characters must stay; of the other pieces, the least probable are dropped if there are too many.
    ranked = sorted(pieces.items(), key=lambda piece: (len(piece[0]) > 1, -piece[1], piece[0]))
    chosen = sorted(ranked[: params.size - len(SPECIALS)], key=lambda piece: (-piece[1], piece[0]))
    return models.Unigram([*((special, 0.0) for special in SPECIALS), *chosen], unk_id=UNK_ID)


KINDS: dict[str, Callable[[Counter[str], list[str], params.Vocab], models.Model]] = {
    "word": _word_level,
    "character": _word_level,
    "bpe": _bpe,
    "wordpiece": _wordpiece,
    "unigram": _unigram,
}


def _count_words(texts: Iterable[str], normaliser: normalizers.Normalizer | None, kind: str) -> Counter[str]:
    """How often each pre-token occurs."""
    cut, prefix = _pre_tokenizer(kind), _normaliser(kind, normaliser)
    # Splitting costs more than counting, and chunks between spaces repeat, so each different chunk is split only once.
    chunks: Counter[str] = Counter()
    for text in texts:
        normal = prefix.normalize_str(text) if prefix else text
        chunks.update(normal if kind == "character" else re.findall(r" [^ ]*|^[^ ]+", normal))
    if kind == "character":
        return chunks
    counted: Counter[str] = Counter()
    for chunk, count in chunks.items():
        for word, _ in cut.pre_tokenize_str(chunk):
            counted[word] += count
    return counted


def _alphabet(words: Counter[str], min_frequency: int) -> list[str]:
    counted: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counted[character] += count
    return sorted(character for character, count in counted.items() if count >= min_frequency)


def _trained(words: Counter[str], model: models.Model, trainer: trainers.Trainer) -> Tokenizer:
    """Run a trainer on counted words: each is passed as a text of its own, as often as it occurs."""
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), "isolated")
    backend.train_from_iterator(
        (word for word, count in sorted(words.items()) for _ in range(count)), trainer, length=words.total()
    )
    return backend


def _normaliser(kind: str, normaliser: normalizers.Normalizer | None) -> normalizers.Normalizer | None:
    """The user's normaliser followed, except for `character`, by a prepended space, which makes the first word like the
    others."""
    if kind == "character":
        return normaliser
    space = normalizers.Prepend(" ")
    return space if normaliser is None else normalizers.Sequence([normaliser, space])


def _pre_tokenizer(kind: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(CHARACTERS if kind == "character" else WORDS), "isolated")


def _dress(backend: Tokenizer, kind: str, normaliser: normalizers.Normalizer | None) -> None:
    """Add everything around the model: normaliser, pre-tokenizer, post-processor, decoder and special tokens."""
    if prefix := _normaliser(kind, normaliser):
        backend.normalizer = prefix
    backend.pre_tokenizer = _pre_tokenizer(kind)
    steps: list[decoders.Decoder] = []
    if kind == "wordpiece":
        # "#" is punctuation and so always a token of its own: "##" can only mark a continuing piece.
        steps.append(decoders.Replace("##", ""))
    if kind in ("word", "wordpiece"):
        # An unknown word has lost its space; give it one back for readability.
        steps.append(decoders.Replace(UNK, f" {UNK}"))
    steps.append(decoders.Fuse())
    if kind != "character":
        steps.append(decoders.Strip(" ", 1, 0))
    backend.decoder = decoders.Sequence(steps)
    backend.post_processor = _template(whole=True)
    backend.add_special_tokens([AddedToken(special, special=True, normalized=False) for special in SPECIALS])


def _template(*, whole: bool) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}" if whole else f"{BOS} $A",
        pair=f"{BOS} $A {EOS} $B:1 {EOS}:1",
        special_tokens=[(BOS, BOS_ID), (EOS, EOS_ID)],
    )


def _wrap(backend: Tokenizer) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        unk_token=UNK,
        bos_token=BOS,
        eos_token=EOS,
        mask_token=MASK,
        padding_side="right",
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,  # "<s>" in a text is three characters, not a special token
    )


def _needs_room(entries: Sequence[str], params: params.Vocab) -> None:
    if len(entries) + len(SPECIALS) > params.size:
        raise _too_small(params.tokenizer, params.size, len(entries) + len(SPECIALS))


def _too_small(kind: str, size: int, needed: int) -> InputError:
    return InputError(
        f"vocab.size {size} is too small: the characters of the training texts and the special tokens alone need "
        f"{needed} entries of a {kind} vocabulary; raise vocab.size or vocab.min_frequency"
    )
