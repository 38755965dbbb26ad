"""The configuration of the project's models as transformers reads it from config.json."""

# No `from __future__ import annotations`: transformers checks the fields of a configuration by their types.

from typing import Any

from transformers import PreTrainedConfig

from attention_lab.transformer import Config


class LabConfig(PreTrainedConfig):
    """transformer: the fields of `attention_lab.transformer.Config`; the others follow from it. vocab_size: of the
    vocabulary that is written with, where the source has another one, whose size transformers never asks for."""

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
        if self.transformer is not None:  # transformers also makes one without any values, to compare with
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
            if config.task == "multi_label":  # what pipelines and the Trainer go by
                self.problem_type = "multi_label_classification"
        super().__post_init__(**kwargs)
