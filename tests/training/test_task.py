"""The task: batches, corrections and the loss, on synthetic scenes."""

from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tests.training.helpers import two_discs, write_cases
from training.tiny import pieces
from training.tiny.scenes import Sampler
from training.tiny.task import TinyTask
from training.tiny.train import groups, make_network

from samaritan.adapt import Settings, fit
from samaritan.adapt.prompted.tiny import Plan, corrected, is_lone_click, loss_terms
from samaritan.autoprompt.simulate import Target, centre_click
from samaritan.core.geometry import Geometry
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.models.tiny.network import Masks
from samaritan.models.tiny.prompt_maps import HAS_PREVIOUS


@pytest.fixture
def task(views, monkeypatch):
    task = TinyTask(Plan(steps=8, images=4, sides=(32, 64), stages=(0.5, 1.0), correction_share=1.0), Path(), Path())
    monkeypatch.setitem(task.__dict__, "sampler", Sampler(views))
    return task


def test_batches_depend_on_the_step_alone_and_grow_half_way(task):
    first, again, other = task.batch(3), task.batch(3), task.batch(4)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.maps, again.maps)
    assert first.images.shape == (4, 3, 32, 32)
    assert other.images.shape == (4, 3, 64, 64)
    assert other.masks.shape == (4, 64, 64)
    assert other.maps.shape[-2:] == (16, 16)


def test_a_few_steps_on_one_batch_lower_its_loss(task, monkeypatch, tmp_path):
    batch = task.batch(7)
    monkeypatch.setattr(task, "batch", lambda _step: deepcopy(batch))
    network, entries = make_network(None, seed=0), []
    fit(network, task, Settings(steps=24), tmp_path, groups=groups(network), on_step=entries.append)
    assert all(set(entry["terms"]) == {"mask", "iou", "corrected"} for entry in entries)
    assert entries[-1]["terms"]["mask"] < 0.8 * entries[0]["terms"]["mask"]


def test_what_workers_read_is_made_before_they_begin(tmp_path, monkeypatch):
    view, image = two_discs()
    write_cases(tmp_path, ("busi", "train"))
    cv2.imwrite(str(tmp_path / "i.png"), view.image)
    cv2.imwrite(str(tmp_path / "m.png"), (image > 100).astype(np.uint8))
    monkeypatch.setattr(pieces, "VIEWS_A_FAMILY", 2)
    task = TinyTask(Plan(steps=1), tmp_path, tmp_path / "cache" / "views.npz")
    task.prepare()
    assert "sampler" not in vars(task)  # which would travel to every worker
    monkeypatch.setattr(pieces, "pieces_of", None)
    assert task.sampler.draw(64, np.random.default_rng(0)).mask.any()


def test_corrections_click_where_the_shown_mask_is_wrong(task):
    batch = task.batch(5)
    nothing = np.full((32, 32), -9.0, np.float32)
    for given, mask in zip(batch.prompts, batch.masks.numpy(), strict=True):
        prompts, maps = corrected(given, mask, nothing)
        assert maps[HAS_PREVIOUS].min() == 1
        deepest = centre_click(Target.of_picture(mask.T))
        assert deepest.voxel in {point.voxel for point in prompts.points}
        assert maps[0, deepest.voxel[1] // 4, deepest.voxel[0] // 4] > 0.5


def test_a_second_look_adds_no_click_but_shows_the_first_answer(task):
    batch = task.batch(5)
    given, mask = batch.prompts[0], batch.masks[0].numpy()
    prompts, maps = corrected(given, mask, np.where(mask[::2, ::2], 9.0, -9.0).astype(np.float32), click=False)
    assert prompts == given
    assert maps[HAS_PREVIOUS].min() == 1
    assert maps[10].max() > 0.5


def test_crops_grow_from_stage_to_stage():
    plan = Plan(steps=100, sides=(128, 192, 256), stages=(0.5, 0.8, 1.0))
    assert [plan.side(step) for step in (0, 49, 50, 79, 80, 99)] == [128, 128, 192, 192, 256, 256]
    assert Plan(steps=100, sides=(64,)).side(99) == 64


def test_only_one_lone_click_is_ambiguous():
    grid = Geometry.picture(8, 8)
    assert is_lone_click(Prompts(grid, (Point((1, 1, 0)),)))
    assert not is_lone_click(Prompts(grid, (Point((1, 1, 0)), Point((2, 1, 0)))))
    assert not is_lone_click(Prompts(grid, (Box((0, 0, 0), (4, 4, 1)),)))


def test_a_perfect_mask_costs_less_than_a_poor_one():
    target = torch.zeros(1, 1, 16, 16)
    target[:, :, 4:12, 4:12] = 1
    ones, sure = torch.ones_like(target), torch.tensor([[1.0]])
    unambiguous = torch.tensor([False])
    right = loss_terms(Masks((target - 0.5) * 40, sure), target, ones, unambiguous)
    wrong = loss_terms(Masks((0.5 - target) * 40, sure), target, ones, unambiguous)
    assert right["mask"] < 0.01
    assert wrong["mask"] > 1
    assert right["iou"] < 1e-6
    assert wrong["iou"] == pytest.approx(0.5)
