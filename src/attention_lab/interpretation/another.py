"""Another model of the same data, explained on the same rows: does another training get the same explanations?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedTokenizerFast

from attention_lab import encoding, params, vocabulary
from attention_lab.errors import InputError
from attention_lab.interpretation import explained
from attention_lab.interpretation.explained import Gold
from attention_lab.interpretation.subject import Subject
from attention_lab.transformer import Model, load


@dataclass(frozen=True)
class Another:
    """folder: output of the train stage. target_tokenizer: the target's own; None: `tokenizer` is for both."""

    folder: Path
    model: Model
    tokenizer: PreTrainedTokenizerFast
    target_tokenizer: PreTrainedTokenizerFast | None

    @property
    def named(self) -> str:
        return f"the model in {self.folder} ({self.model.config.mechanism_name})"

    def about(self, subject: Subject, rows: Mapping[str, pd.DataFrame]) -> Subject:
        """The same rows as this model reads them: its tokens may differ, but its words do not."""
        config = self.model.config
        limits = params.Encode(
            max_source_tokens=config.positions,
            max_target_tokens=config.positions,
            overflow="truncate",
            overlap=1,
            max_overflow_share=1.0,
        )
        records = {name: table[table["row"].isin(rows[name]["row"])] for name, table in subject.records.items()}
        encoded = {
            name: encoding.encode(
                table, subject.shape, self.tokenizer, list(config.labels), limits, self.target_tokenizer
            )[0]
            for name, table in records.items()
        }
        return replace(
            subject,
            model=self.model,
            encoded=encoded,
            records=records,
            tokenizer=self.tokenizer,
            target_tokenizer=self.target_tokenizer,
        )

    def scores(
        self, subject: Subject, rows: Mapping[str, pd.DataFrame], method: str, gold: Gold | None
    ) -> dict[str, np.ndarray]:
        """A method's scores (Wq, Wk) of test rows, by name, in the variant that is best for this model on valid rows.
        Empty if the model cannot read any row of a split uncut.

        Args:
            rows: rows of both splits. gold: None: use the first variant.
        """
        own = self.about(subject, rows)
        valid, test = (
            explained.explain(own.asked(own.whole(split), split), own.options.steps, [method])
            for split in ("valid", "test")
        )
        if not test.names or (gold is not None and not valid.names):
            return {}
        variant = next(iter(test.scores[method])) if gold is None else explained.chosen(valid, gold, method)[1].variant
        return dict(zip(test.names, test.scores[method][variant], strict=True))


def read(folder: Path, task: str, device: torch.device | str) -> Another:
    """Load a model that the train stage has written.

    Raises:
        InputError: there is none in the folder, or it was trained for another task.
    """
    if not (folder / "model.safetensors").exists():
        raise InputError(f"interpret.beside: {folder} holds no trained model; copy the data/model of another run there")
    model = load(folder, device)
    if model.config.task != task:
        raise InputError(
            f"interpret.beside: the model in {folder} was trained for {model.config.task}, this one for {task}; "
            "name one for the same task"
        )
    return Another(folder, model, vocabulary.load(folder), vocabulary.load_target(folder))
