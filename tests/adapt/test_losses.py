"""Losses by hand, on masks small enough to count."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

from samaritan.adapt import losses  # noqa: E402

SURE = 30.0


def _case(predicted, wanted, valid=None):
    """Rows of 0 and 1 as (1, 1, 1, n) logits, target and valid."""
    logits = torch.tensor(predicted, dtype=torch.float32).mul(2 * SURE).sub(SURE).reshape(1, 1, 1, -1)
    target = torch.tensor(wanted, dtype=torch.float32).reshape(1, 1, 1, -1)
    weights = torch.ones_like(target) if valid is None else torch.tensor(valid).float().reshape(1, 1, 1, -1)
    return logits, target, weights


def test_dice_counts_pixels():
    assert losses.dice_loss(*_case([1, 1, 0, 0], [1, 1, 0, 0])).item() == pytest.approx(0.0, abs=1e-6)
    assert losses.dice_loss(*_case([1, 1, 0, 0], [0, 1, 1, 0])).item() == pytest.approx(1 - 3 / 5)
    assert losses.dice_loss(*_case([0, 0], [0, 0])).item() == pytest.approx(0.0, abs=1e-6)


def test_padding_does_not_count():
    wrong_in_padding = _case([1, 0, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0])
    assert losses.dice_loss(*wrong_in_padding).item() == pytest.approx(0.0, abs=1e-6)
    assert losses.object_cross_entropy(*wrong_in_padding).item() == pytest.approx(0.0, abs=1e-6)
    assert losses.iou(*wrong_in_padding).item() == 1.0


def test_the_cross_entropy_of_an_undecided_mask():
    logits, target = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    target[..., :8, :8] = 1
    valid = torch.ones_like(target)
    assert losses.object_cross_entropy(logits, target, valid).item() == pytest.approx(math.log(2) * 1024 / 256)


def test_iou_and_its_prediction():
    case = _case([1, 1, 0, 0], [0, 1, 1, 0])
    assert losses.iou(*case).item() == pytest.approx(1 / 3)
    assert losses.iou(*_case([0, 0], [0, 0])).item() == 1.0
    assert losses.iou_error(torch.tensor([[1 / 3 + 0.5]]), *case).item() == pytest.approx(0.25)


def test_an_ambiguous_prompt_is_judged_by_its_best_mask():
    each = torch.tensor([[1.0, 0.0, 2.0], [1.0, 0.0, 2.0]])
    chosen = losses.choose(each, torch.tensor([True, False]), losing_weight=0.1)
    assert chosen.item() == pytest.approx((0.1 * 1.0 + 1.0) / 2)
