"""Model cards and predictions: what cannot be built."""

import numpy as np
import pytest

from samaritan.core.errors import GeometryMismatchError, ImageError, UnknownNameError, UnsupportedPromptError
from samaritan.core.geometry import Geometry
from samaritan.core.model import ModelCard, Prediction
from samaritan.core.prompts import Point, Prompts, Text

GRID = Geometry.picture(4, 3)


def card(**changes):
    fields = {
        "name": "x", "family": "sam", "title": "X", "licence": "MIT", "commercial_use": True,
        "native_shape": (64, 64), "dims": 2, "prompts": frozenset({"point"}), "sha256": "0" * 64,
    }  # fmt: skip
    return ModelCard(**(fields | changes))


def test_a_card_names_prompts_that_exist():
    with pytest.raises(UnknownNameError, match="prompt kind"):
        card(prompts=frozenset({"points"}))


def test_a_card_refuses_no_prompt_and_prompts_the_model_does_not_take():
    card().require_prompts(Prompts(GRID, (Point((1, 1, 0)),)))
    with pytest.raises(UnsupportedPromptError, match="no prompt"):
        card().require_prompts(Prompts(GRID))
    with pytest.raises(UnsupportedPromptError, match="text"):
        card().require_prompts(Prompts(GRID, (Text("liver"),)))


def test_a_prediction_is_best_first_and_on_its_grid():
    logits = np.zeros((2, 4, 3, 1), np.float32)
    logits[0, 1] = 1
    prediction = Prediction(logits, np.array([0.9, 0.5], np.float32), GRID)
    assert prediction.mask.sum() == 3
    assert prediction.score == pytest.approx(0.9)
    with pytest.raises(ImageError, match="best first"):
        Prediction(logits, np.array([0.5, 0.9], np.float32), GRID)
    with pytest.raises(ImageError):
        Prediction(logits, np.array([0.5], np.float32), GRID)
    with pytest.raises(GeometryMismatchError):
        Prediction(logits, np.array([0.9, 0.5], np.float32), Geometry.picture(3, 4))
