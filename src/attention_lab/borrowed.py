"""Models of transformers from a directory on disk: config.json, weights and a fast tokenizer, turned into ours.

Nothing is asked of the network, and no code from the directory is run.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from attention_lab import vocabulary
from attention_lab.errors import InputError
from attention_lab.transformer import LanguageModel, Model, SpanExtractor, from_huggingface
from attention_lab.transformer.families import FAMILIES
from attention_lab.transformer.models import Writer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def is_one(directory: Path) -> bool:
    """Whether the directory holds a model of transformers, and not one that was trained here."""
    file = directory / "config.json"
    return file.is_file() and "transformer" not in _read(file)


def load(
    directory: Path, device: torch.device | str
) -> tuple[Model, PreTrainedTokenizerFast, PreTrainedTokenizerFast]:  # fmt: skip
    """The model, ready for inference, its tokenizer, and that of what it writes, which differs by a start token.

    Raises:
        InputError: there is no model, it is of no family that is known here, or its tokenizer is not a fast one.
    """
    import transformers

    kind = (_read(directory / "config.json").get("architectures") or ["an unnamed architecture"])[0]
    if kind not in FAMILIES:
        raise InputError(f"{directory} holds {kind}; the models that can be read here are {', '.join(FAMILIES)}")
    try:
        theirs, report = getattr(transformers, kind).from_pretrained(
            str(directory), local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except OSError as error:
        raise InputError(f"{directory} holds no weights that can be read: {_first_line(error)}") from None
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise InputError(f"{directory} lacks weights of {kind} ({missing}); save the whole model there")
    tokenizer = _tokenizer(directory)
    model = from_huggingface(theirs)
    model.config = model.config.model_copy(update=_updates(model, theirs.config, tokenizer, directory))
    return model.to(device).eval(), tokenizer, _of_target(model, tokenizer)


def _updates(model: Model, theirs: Any, tokenizer: PreTrainedTokenizerFast, directory: Path) -> dict[str, Any]:
    """What their configuration and their tokenizer say about the task, which our families do not ask."""
    if isinstance(model, SpanExtractor):
        return {"end": tokenizer.sep_token_id}  # stands behind the question and behind the text
    if isinstance(model, Writer):
        return {}
    if len(model.config.labels) < 2:
        raise InputError(
            f"{directory} has {len(model.config.labels)} label: it predicts a number, not a class; name a classifier"
        )
    return {"task": "multi_label"} if theirs.problem_type == "multi_label_classification" else {}


def _tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(str(directory), local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"{directory} holds no tokenizer that can be read: {_first_line(error)}") from None
    if not found.is_fast:
        raise InputError(
            f"the tokenizer in {directory}, {type(found).__name__}, is a slow one, which does not say where its tokens "
            "stand in the text; save a fast one (tokenizer.json) there"
        )
    return found


def _of_target(model: Model, tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """What is written begins with a start token, which is not in the text that a model is trained to write."""
    if not isinstance(model, Writer) or isinstance(model, LanguageModel):
        return tokenizer
    from tokenizers import processors

    own = vocabulary.backend(tokenizer).encode("a")
    text = own.special_tokens_mask.index(0)
    around = [number for number, mark in zip(own.ids, own.special_tokens_mask, strict=True) if mark]
    around.insert(0, model.config.start)
    names = tokenizer.convert_ids_to_tokens(around)
    found = copy.deepcopy(tokenizer)
    found.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=[*names[: text + 1], "$A", *names[text + 1 :]], special_tokens=list(zip(names, around, strict=True))
    )
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"{file} cannot be read ({error}); give the directory of a model") from None
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
