"""Loading models of transformers from a directory (config.json, weights and a fast tokenizer) and converting them.

Nothing is fetched from the network, and no code from the directory is run.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from attention_lab import vocabulary
from attention_lab.errors import InputError
from attention_lab.transformer import LanguageModel, Model, SpanExtractor, from_huggingface
from attention_lab.transformer.families import FAMILIES
from attention_lab.transformer.models import Writer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def is_one(directory: Path) -> bool:
    """Whether the directory holds a model of transformers rather than one that was trained here."""
    file = directory / "config.json"
    return file.is_file() and "transformer" not in _read(file)


def load(
    directory: Path, device: torch.device | str
) -> tuple[Model, PreTrainedTokenizerFast, PreTrainedTokenizerFast]:  # fmt: skip
    """Load the model in eval mode, its tokenizer, and the tokenizer of its output. For an encoder-decoder the latter
    adds a start token; otherwise the two are the same.

    Raises:
        InputError: there is no readable model of a known family, weights are missing, it predicts a number instead of a
            class, or it has no fast tokenizer.
    """
    import transformers

    kind = (_read(directory / "config.json").get("architectures") or ["an unnamed architecture"])[0]
    if kind not in FAMILIES:
        raise InputError(f"{directory} holds {kind}; the models that can be read here are {', '.join(FAMILIES)}")
    try:
        theirs, report = getattr(transformers, kind).from_pretrained(
            str(directory), local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, SafetensorError) as error:
        raise InputError(f"{directory} holds no weights that can be read: {_first_line(error)}") from None
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise InputError(f"{directory} lacks weights of {kind} ({missing}); save the whole model there")
    tokenizer = _tokenizer(directory)
    model = from_huggingface(theirs)
    model.config = model.config.model_copy(update=_updates(model, theirs.config, tokenizer, directory))
    return model.to(device).eval(), tokenizer, _of_target(model, tokenizer)


def _updates(model: Model, theirs: Any, tokenizer: PreTrainedTokenizerFast, directory: Path) -> dict[str, Any]:
    """Values of our configuration that follow from their configuration and tokenizer, which `families` does not set."""
    if isinstance(model, SpanExtractor):
        return {"end": tokenizer.sep_token_id}  # follows the question, and the text
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
    """The tokenizer of the target, which begins with the start token; their tokenizer does not add it."""
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
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}); give the directory of a model") from None
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
