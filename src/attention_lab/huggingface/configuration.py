"""The configuration of the project's models, as transformers reads it from config.json."""

# No `from __future__ import annotations`: transformers validates configuration fields by their types.

from typing import Any

from transformers import PreTrainedConfig

from attention_lab.transformer import Config


class LabConfig(PreTrainedConfig):
    """The configuration of any of the project's models.

    transformer: the fields of `attention_lab.transformer.Config`, from which the others are derived. vocab_size: of the
    output; if the source has its own vocabulary, transformers never needs that size."""

    model_type = "attention_lab"

    transformer: dict[str, Any] | None = None
    vocab_size: int = 0
    hidden_size: int = 0
    num_attention_heads: int = 0
    num_hidden_layers: int = 0
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    decoder_start_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if self.transformer is not None:  # transformers also makes an empty one, for comparison
            config = Config(**self.transformer)
            self.transformer = config.model_dump(mode="json")
            self.vocab_size, self.hidden_size = config.written, config.width
            self.num_attention_heads = config.heads
            self.num_hidden_layers = config.layers or config.decoder_layers
            self.pad_token_id, self.bos_token_id, self.eos_token_id = config.pad, config.start, config.end
            self.is_encoder_decoder = config.architecture == "encoder_decoder"
            self.decoder_start_token_id = config.start if self.is_encoder_decoder else None
            if config.labels:
                self.id2label = dict(enumerate(config.labels))
                self.label2id = {label: number for number, label in enumerate(config.labels)}
            if config.task == "multi_label":  # pipelines and the Trainer rely on it
                self.problem_type = "multi_label_classification"
        super().__post_init__(**kwargs)
