"""Every method for every mechanism in every architecture: scores or a reason; and occlusion against captum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation
from explainable import TASKS, asked_of

from attention_lab.attention import CATALOGUE
from attention_lab.interpretation.asked import log_probabilities
from attention_lab.interpretation.explained import attributions, explain, shares_of_source
from attention_lab.interpretation.methods import METHODS, Look, attribute, looked_at, placed, why_not
from attention_lab.interpretation.shares import by_weights, flow
from attention_lab.vocabulary import UNK_ID

# Where each mechanism is valid, an architecture that looks at its source with it.
PLACES = {"cross": "encoder_decoder", "encoder_self": "classifier", "decoder_self": "decoder"}
EVERY = [(row.name, PLACES[place]) for row in CATALOGUE.values() for place in row.places]


@pytest.mark.parametrize(("mechanism", "architecture"), EVERY)
def test_scores_or_a_reason(mechanism: str, architecture: str) -> None:
    asked = asked_of(architecture, mechanism, rows=2, layers=1, decoder_layers=1)
    config = asked.model.config
    assert config.mechanism(looked_at(config)).name == mechanism
    found = explain([asked], 2, layers=True)
    variants = {method: next(iter(scores)) for method, scores in found.scores.items()}
    for place in config.places:
        methods = {one.method for of_row in found.placed for one in of_row if one.place == place}
        none = config.mechanism(place).weights == "none"
        assert methods == ({"value_zeroing"} if none else {"weights", "norm", "value_zeroing"})
    for row, (name, methods) in enumerate(attributions(found, variants, config).items()):
        assert name == asked.names[row]
        assert [one.method for one in methods] == list(METHODS)
        for one in methods:
            assert (one.scores is None) == bool(one.reason)
            if one.scores is not None:
                assert one.scores.shape == (len(asked.outputs(row).words), len(asked.sources[row].words))
    for scores in found.scores.values():
        for rows in scores.values():
            assert all(np.isfinite(matrix).all() for matrix in rows)
    for shares in shares_of_source([asked]).values():
        assert ((shares >= 0.0) & (shares <= 1.0)).all()
    kind = CATALOGUE[mechanism].weights
    assert ("weights" in found.scores) == (kind != "none")
    assert {"value_zeroing", "occlusion", "integrated_gradients"} <= set(found.scores)


@pytest.mark.parametrize("architecture", TASKS)
def test_what_layers_do_is_what_the_methods_take_together(architecture: str) -> None:
    """Where the source is looked at, a layer's line is the method's variant of that layer; elsewhere weights are those
    that the layer gives, between the words that stand there, and no word looks at one that comes later."""
    asked = asked_of(architecture)
    look, config = Look(asked, 2), asked.model.config
    found, of_methods = placed(look), attribute(look, ["weights", "norm", "value_zeroing"])
    for row, listed in enumerate(found):
        assert {(one.place, one.layer) for one in listed} == {(place, n) for place in config.places for n in (1, 2)}
        for one in listed:
            assert one.scores.shape == (len(one.queries), len(one.words))
            if one.place == "cross":
                variant = of_methods[one.method][f"layer {one.layer}, predicting"][row]
                np.testing.assert_allclose(one.scores, variant, atol=1e-6)
            elif one.place == "encoder_self":
                assert one.queries == one.words == asked.sources[row].words
            else:
                assert one.queries == one.words == asked.outputs(row).words
                np.testing.assert_allclose(np.triu(one.scores, 1), 0.0, atol=1e-12)  # cosines have rounding
                assert one.scores[-1, :-1].max() > 0.0


def test_no_score_of_a_language_model_looks_ahead() -> None:
    for variants in attribute(Look(asked_of("decoder"), 2)).values():
        for variant, rows in variants.items():
            for matrix in rows:
                ahead = np.triu(np.ones_like(matrix, dtype=bool), 1 if "reading" in variant else 0)
                np.testing.assert_allclose(matrix[ahead], 0.0, atol=1e-6)


@pytest.mark.parametrize("architecture", TASKS)
def test_padding_changes_nothing(architecture: str) -> None:
    """Scores of a row are the same with longer rows beside it and alone."""
    together = asked_of(architecture)
    short = int(together.reading.lengths[:, 0].argmin())
    assert together.reading.lengths[short, 0] < together.batch.source.shape[1]
    alone = asked_of(architecture, only=together.names[short])
    assert alone.names == [together.names[short]]
    first, second = attribute(Look(together, 3)), attribute(Look(alone, 3))
    assert first.keys() == second.keys() == METHODS.keys()
    for method, variants in second.items():
        for variant, rows in variants.items():
            np.testing.assert_allclose(first[method][variant][short], rows[0], atol=1e-5, err_msg=f"{method} {variant}")


def test_occlusion_is_what_captum_ablates() -> None:
    asked = asked_of("encoder_decoder")
    found = attribute(Look(asked, 1), ["occlusion"])["occlusion"]["signed"]
    for row, words in enumerate(asked.sources):
        features = torch.tensor([0 if owner is None else owner + 1 for owner in words.owners])
        source = asked.batch.source[row : row + 1, : len(features)]
        baseline = torch.where(features == 0, source, UNK_ID)
        target = asked.batch.target[row : row + 1]

        def forward(source: torch.Tensor, target: torch.Tensor = target, row: int = row) -> torch.Tensor:
            batch = replace(asked.batch, source=source, source_mask=torch.ones_like(source).bool(), target=target)
            return torch.stack(log_probabilities(asked.model, batch, asked.said[row : row + 1]), 1).detach()

        theirs = FeatureAblation(forward).attribute(source, baselines=baseline, feature_mask=features[None])
        by_output = asked.outputs(row).owners
        for word in range(len(words.words)):
            token = words.owners.index(word)
            for output in range(len(asked.outputs(row).words)):
                np.testing.assert_allclose(
                    found[row][output, word], float(theirs[by_output.index(output), token]), atol=1e-5
                )


def test_why_not_names_the_mechanism() -> None:
    fnet = asked_of("classifier", "fnet").model.config
    assert why_not(METHODS["weights"], fnet) == "fnet has no attention weights"
    assert why_not(METHODS["occlusion"], fnet) == ""
    sigmoid = asked_of("encoder_decoder", "sigmoid").model.config
    assert "weights of sigmoid do not sum to 1" in why_not(METHODS["rollout"], sigmoid)
    assert why_not(METHODS["alti"], sigmoid) == ""


def test_a_class_that_is_read_from_the_mean_looks_from_all_positions() -> None:
    asked = asked_of("classifier", pooling="mean")
    look = Look(asked, 2)
    (rows,) = attribute(look, ["rollout"])["rollout"].values()
    source = flow(look.layers, by_weights).source
    for row, scores in enumerate(rows):
        length = asked.reading.lengths[row, 0]
        mean = source[row, :length, : source.shape[2]].mean(0, keepdim=True)
        np.testing.assert_allclose(scores, asked.merged(row, mean.numpy()), rtol=1e-5)
    assert length < source.shape[1]  # and none of them is padding
