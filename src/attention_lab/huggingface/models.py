"""The project's models as classes of transformers, for `AutoModel…`, `generate`, `pipeline` and `Trainer`.

    import attention_lab.huggingface                # registers the classes; needed in every new process
    model = AutoModelForSeq2SeqLM.from_pretrained("data/model")
    model.generate(**AutoTokenizer.from_pretrained("data/model")("The old dog sees the cat.", return_tensors="pt"))

Each class wraps one model of `attention_lab.transformer` and loads the files that the train stage writes. Masks (1 = a
token) and losses (means over the labels that are not −100) follow the conventions of transformers. If the target has
its own vocabulary, decode what the model generates with the tokenizer in "data/model/target".

Shapes: B batch, Ls source positions, Lt target positions, V vocabulary, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    GenerationConfig,
    GenerationMixin,
    PreTrainedModel,
)
from transformers.generation import GenerationMode
from transformers.modeling_outputs import (
    BaseModelOutput,
    CausalLMOutputWithPast,
    QuestionAnsweringModelOutput,
    Seq2SeqLMOutput,
    SequenceClassifierOutput,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import can_return_tuple

from attention_lab.errors import InputError
from attention_lab.huggingface.cache import LabCache, rows_behind
from attention_lab.huggingface.configuration import LabConfig
from attention_lab.transformer import Config, EncoderDecoder, Model, build
from attention_lab.transformer.models import Memory, Writer, begin, writing

# Arguments of forward that transformers knows, that would change the answer, and that these models do not have.
ALTERING = ("inputs_embeds", "decoder_inputs_embeds", "position_ids", "head_mask", "output_hidden_states")


class LabModel(PreTrainedModel):
    """Base class: wraps a model of ours and builds it from the configuration."""

    config_class = LabConfig
    base_model_prefix = "transformer"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # the loss is the mean over its own batch, however many the Trainer accumulates

    def __init__(self, config: LabConfig) -> None:
        super().__init__(config)
        own = Config(**config.transformer or {})
        if own.labels:  # `from_pretrained` (num_labels, id2label) may have changed them in the configuration
            own = own.model_copy(update={"labels": tuple(name for _, name in sorted(config.id2label.items()))})
            config.transformer = own.model_dump(mode="json")
        with torch.device("cpu"):  # transformers builds on the meta device, but our models draw numbers while built
            self.transformer: Any = build(own)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Do nothing: modules initialise themselves."""

    def get_input_embeddings(self) -> nn.Module:
        """The embedding of the tokens that the model reads."""
        found: nn.Module = self.transformer.embedding.tokens
        return found

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the embedding of the tokens that the model reads."""
        self.transformer.embedding.tokens = value

    def resize_token_embeddings(self, *arguments: Any, **named: Any) -> nn.Module:
        """Resize the token embedding, as in all models of transformers.

        Raises:
            InputError: the output has weights of its own, which would keep their size.
        """
        own = self.transformer.config
        alone = own.tied and not own.output_bias and own.target_vocabulary is None
        if isinstance(self.transformer, Writer) and not alone:
            raise InputError(
                "resize_token_embeddings: this model does not write with the vectors that it reads with, so it cannot "
                "be resized; take one that was trained with model.tied=true and vocab.shared=true"
            )
        found: nn.Module = super().resize_token_embeddings(*arguments, **named)
        self.transformer.config = own.model_copy(update={"vocabulary": self.get_input_embeddings().num_embeddings})
        self.config.transformer = self.transformer.config.model_dump(mode="json")
        return found

    @classmethod
    def of(cls, model: Model) -> LabModel:
        """Wrap a model of ours in this class, sharing its weights."""
        wrapped = cls(LabConfig(transformer=model.config.model_dump(mode="json")))
        wrapped.transformer = model
        return wrapped.train(model.training)


class _Generating(LabModel, GenerationMixin):
    """A model that writes, with its own kind of cache."""

    def __init__(self, config: LabConfig) -> None:
        super().__init__(config)
        self.generation_config = GenerationConfig(**writing(self.transformer.config))

    def _prepare_cache_for_generation(
        self,
        generation_config: Any,
        model_kwargs: dict[str, Any],
        generation_mode: GenerationMode,
        *arguments: Any,
        **named: Any,
    ) -> None:
        """Called by `generate`.

        Raises:
            InputError: guessed tokens would have to be taken back, but the state of a recurrent kernel cannot be.
        """
        if generation_mode == GenerationMode.ASSISTED_GENERATION:
            raise InputError(
                "generate: the cache of this model cannot take back tokens that were guessed; leave out "
                "assistant_model and prompt_lookup_num_tokens"
            )
        if generation_config.use_cache is not False and model_kwargs.get("past_key_values") is None:
            model_kwargs["past_key_values"] = LabCache(self.transformer)


@dataclass
class Encoded(BaseModelOutput):
    """The output of the encoder together with the tokens (B, Ls) it read, for a decoder that copies."""

    tokens: Tensor | None = None


class LabForSeq2SeqLM(_Generating):
    """Wraps `EncoderDecoder`."""

    main_input_name = "input_ids"

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """Called by `DataCollatorForSeq2Seq` and by the label smoothing of `Trainer`; see `shifted`."""
        return shifted(labels, self.transformer.config.start, self.transformer.config.pad)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        labels: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: LabCache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        **ignored: Any,
    ) -> Any:
        """input_ids (B, Ls) → logits (B, Lt, V); log-probabilities if the model copies

        Args:
            labels: (B, Lt), the target from its first word to its end token. Without decoder_input_ids the decoder
                reads the start token followed by all labels but the last.

        Raises:
            InputError: there are no input_ids, and no `encoder_outputs` (with tokens, if the model copies); or neither
                decoder_input_ids nor labels.
        """
        _refuse(ignored)
        model = self.transformer
        if decoder_input_ids is None:
            if labels is None:
                raise InputError("the model needs decoder_input_ids or labels")
            decoder_input_ids = shifted(labels, model.config.start, model.config.pad)
        encoder_self = None
        if encoder_outputs is None:
            mask = _mask(attention_mask, input_ids)
            memory, encoder_self = model.read(input_ids, mask, weights=bool(output_attentions))
        else:
            memory = _memory(model, encoder_outputs, attention_mask, input_ids)
        states, decoder_self, cross = model.decode(
            decoder_input_ids,
            memory,
            caches=None if past_key_values is None else past_key_values.blocks[0],
            weights=bool(output_attentions),
        )
        logits = model.project(states)
        return Seq2SeqLMOutput(
            loss=_loss(logits, labels),
            logits=logits,
            past_key_values=past_key_values,
            encoder_last_hidden_state=memory.vectors,
            encoder_attentions=_seen(encoder_self, output_attentions),
            decoder_attentions=_seen(decoder_self, output_attentions),
            cross_attentions=_seen(cross, output_attentions),
        )

    def _prepare_text_encoder_decoder_kwargs_for_generation(
        self,
        inputs_tensor: Tensor,
        model_kwargs: dict[str, Any],
        model_input_name: str | None,
        generation_config: GenerationConfig,
    ) -> dict[str, Any]:
        wanted = generation_config.output_attentions
        mask = _mask(model_kwargs.get("attention_mask"), None if model_input_name == "inputs_embeds" else inputs_tensor)
        memory, seen = self.transformer.read(inputs_tensor, mask, weights=bool(wanted))
        encoded = Encoded(memory.vectors, attentions=_seen(seen, wanted), tokens=memory.tokens)
        return {**model_kwargs, "encoder_outputs": encoded}


class LabForCausalLM(_Generating):
    """Wraps `LanguageModel`. Positions count from the first token of a text, so texts of a batch with different amounts
    of left padding are run in one group per amount: correct, but in the worst case no faster than one by one."""

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, *, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """The arguments of `forward` in a step of `generate`.

        Raises:
            InputError: a text is padded on the right, where it should be continued.
        """
        if attention_mask is not None and not bool(attention_mask[:, -1].all()):
            raise InputError(
                "a text is padded on the right, where it should be continued; give the tokenizer padding_side='left'"
            )
        found: dict[str, Any] = super().prepare_inputs_for_generation(
            input_ids, attention_mask=attention_mask, **kwargs
        )
        return found

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        past_key_values: LabCache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        **ignored: Any,
    ) -> Any:
        """input_ids (B, L) → logits (B, L, V)

        Args:
            attention_mask: (B, L), 0 for padding before or after a text; with past_key_values it covers all tokens so
                far.
            labels: (B, L), usually the input_ids; each position predicts the next label.

        Raises:
            InputError: there are no input_ids.
        """
        _refuse(ignored)
        if input_ids is None:
            raise InputError("the model needs input_ids")
        hidden, decoder_self = self._read(input_ids, attention_mask, past_key_values, bool(output_attentions))
        logits = self.transformer.project(hidden)
        return CausalLMOutputWithPast(
            loss=None if labels is None else _loss(logits[:, :-1], _behind(labels, attention_mask)),
            logits=logits,
            past_key_values=past_key_values,
            attentions=_seen(decoder_self, output_attentions),
        )

    def _read(
        self, tokens: Tensor, mask: Tensor | None, cache: LabCache | None, wanted: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """tokens (B, L), mask (B, all so far) → hidden (B, L, W), weights (B, H, L, all so far) if wanted; both are 0
        for padding before a text"""
        model, seen = self.transformer, 0 if cache is None else cache.get_seq_length()
        padding = tokens.new_zeros(len(tokens)) if mask is None else mask.bool().long().argmax(1)
        if cache is not None:
            cache.padding = padding
        rows, states, layers = [], [], []
        for before in padding.unique().tolist():
            own, skipped = rows_behind(padding, before), max(0, before - seen)
            hidden, weights, _ = model.decoder(
                model.embedding(tokens[own, skipped:], start=max(0, seen - before)),
                caches=None if cache is None else cache.blocks[before],
                weights=wanted,
            )
            rows.append(own)
            states.append(F.pad(hidden, (0, 0, skipped, 0)))
            layers.append([F.pad(one, (seen + tokens.shape[1] - one.shape[-1], 0, skipped, 0)) for one in weights])
        order = torch.cat(rows).argsort()
        return torch.cat(states)[order], [torch.cat(layer)[order] for layer in zip(*layers, strict=True)]


class _Reading(LabModel):
    """A model that reads a text and writes none."""

    def read(
        self, tokens: Tensor | None, mask: Tensor | None, segments: Tensor | None, wanted: bool | None
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """tokens, mask and segments (B, L) → the model's logits, and its attention weights if wanted"""
        logits, seen = self.transformer(tokens, _mask(mask, tokens), segments=segments, weights=bool(wanted))
        return logits, _seen(seen.encoder_self, wanted)


class LabForSequenceClassification(_Reading):
    """Wraps `Classifier`. If the number of classes differs from that in the file (`num_labels`, `id2label`), loading
    fails, or starts with a new head if `from_pretrained` gets `ignore_mismatched_sizes=True`, as in all models of
    transformers."""

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise the head: if the file does not fit, transformers leaves its memory uninitialised."""
        head: nn.Linear = self.transformer.classes
        if module is head:
            begin(head)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        **ignored: Any,
    ) -> Any:
        """input_ids (B, L) → logits (B, C)

        Args:
            labels: (B,); for multi-label classification (B, C), 1 for each label that a text has.
        """
        _refuse(ignored)
        logits, attentions = self.read(input_ids, attention_mask, token_type_ids, output_attentions)
        loss = _of_several if self.config.problem_type == "multi_label_classification" else _loss
        return SequenceClassifierOutput(
            loss=loss(logits, labels),
            logits=logits,
            attentions=attentions,
        )


class LabForQuestionAnswering(_Reading):
    """Wraps `SpanExtractor`."""

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        **ignored: Any,
    ) -> Any:
        """input_ids (B, L) → start_logits and end_logits (B, L); start_positions and end_positions are (B,)"""
        _refuse(ignored)
        logits, attentions = self.read(input_ids, attention_mask, token_type_ids, output_attentions)
        start, end = logits.unbind(1)
        asked = start_positions is not None and end_positions is not None
        return QuestionAnsweringModelOutput(
            loss=(_loss(start, start_positions) + _loss(end, end_positions)) / 2.0 if asked else None,
            start_logits=start,
            end_logits=end,
            attentions=attentions,
        )


def shifted(labels: Tensor, start: int, pad: int) -> Tensor:
    """What a decoder reads to predict the labels (B, Lt): the start token, followed by all labels but the last."""
    first = labels.new_full((len(labels), 1), start)
    return torch.cat((first, labels[:, :-1].masked_fill(labels[:, :-1] == -100, pad)), 1)


def _refuse(ignored: Mapping[str, Any]) -> None:
    """Accept what makes no difference here, such as `return_dict`.

    Raises:
        InputError: one of `ALTERING` is asked for, and would silently not be had.
    """
    for name in ALTERING:
        if ignored.get(name) is not None and ignored[name] is not False:
            raise InputError(f"the model takes no {name}; leave it out")


def _mask(mask: Tensor | None, like: Tensor | None) -> Tensor:
    if like is None:
        raise InputError("the model needs input_ids")
    return torch.ones(like.shape, dtype=torch.bool, device=like.device) if mask is None else mask.bool()


def _memory(model: EncoderDecoder, encoded: Any, mask: Tensor | None, tokens: Tensor | None) -> Memory:
    """The memory from encoder outputs, with the tokens that come with them or else the given ones."""
    vectors, own = encoded[0], getattr(encoded, "tokens", None)
    mask = _mask(mask, vectors[..., 0])
    tokens = tokens if own is None else own
    if tokens is None:
        if model.pointer is not None:
            raise InputError("encoder_outputs: the model copies tokens of its source; give input_ids beside it")
        tokens = mask.long()  # placeholders: only a model that copies reads them
    return Memory(vectors, mask, tokens)


def _loss(logits: Tensor, labels: Tensor | None) -> Any:
    return None if labels is None else F.cross_entropy(logits.float().flatten(0, -2), labels.flatten())


def _behind(labels: Tensor, mask: Tensor | None) -> Tensor:
    """The next label at each position but the last, from labels (B, L); none at padding, which predicts nothing."""
    return labels[:, 1:] if mask is None else labels[:, 1:].masked_fill(~mask[:, :-1].bool(), -100)


def _of_several(logits: Tensor, labels: Tensor | None) -> Any:
    return None if labels is None else F.binary_cross_entropy_with_logits(logits.float(), labels.float())


def _seen(weights: list[Tensor] | None, wanted: bool | None) -> tuple[Tensor, ...] | None:
    return tuple(weights) if wanted and weights is not None else None


CLASSES: dict[str, tuple[type[LabModel], Any]] = {
    "encoder_decoder": (LabForSeq2SeqLM, AutoModelForSeq2SeqLM),
    "decoder": (LabForCausalLM, AutoModelForCausalLM),
    "classifier": (LabForSequenceClassification, AutoModelForSequenceClassification),
    "spans": (LabForQuestionAnswering, AutoModelForQuestionAnswering),
}

AutoConfig.register("attention_lab", LabConfig)
# The Trainer's label smoothing shifts labels only for classes listed here; else each token would predict itself.
MODEL_FOR_CAUSAL_LM_MAPPING_NAMES["attention_lab"] = "LabForCausalLM"
for _own, _auto in CLASSES.values():
    _auto.register(LabConfig, _own)
