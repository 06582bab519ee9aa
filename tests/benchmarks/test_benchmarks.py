"""The protocol of the benchmarks: what is asked for, how it is scored and summed up."""

import json
import tomllib

import numpy as np
import pytest
from benchmarks.baselines import BASELINES, at_working_size, ellipse
from benchmarks.cases import evaluation_cases, scenes
from benchmarks.default_model import measure, report, summary
from benchmarks.macro import Result, case_means, macro
from benchmarks.page import replace_part
from benchmarks.simulated_user import dice, loose_box, next_click
from benchmarks.update_card import MARK, updated
from PIL import Image as Pillow

from samaritan.core.prompts import Box
from samaritan.testing import FakeModel
from samaritan.testing.phantoms import picture


def disk(width=60, height=40, centre=(30, 20), radius=8):
    i, j = np.ogrid[0:width, 0:height]
    return ((i - centre[0]) ** 2 + (j - centre[1]) ** 2 <= radius**2)[..., None]


def test_the_first_click_is_the_deepest_point():
    click = next_click(disk(), np.zeros((60, 40, 1), bool))
    assert click.positive
    assert click.index == (30, 20, 0)


def test_the_next_click_is_negative_where_the_mask_spills():
    click = next_click(disk(), disk() | disk(centre=(10, 10), radius=6))
    assert not click.positive
    assert click.index == (10, 10, 0)


def test_there_is_no_click_without_an_error():
    assert next_click(disk(), disk()) is None


def test_a_loose_box_stays_near_and_in_the_image():
    rng = np.random.default_rng(0)
    box = Box((0, 10, 0), (50, 30, 1))
    for _ in range(50):
        loose = loose_box(box, (52, 31, 1), jitter=0.1, rng=rng)
        assert 0 <= loose.start[0] <= 5
        assert 45 <= loose.stop[0] <= 52
        assert 8 <= loose.start[1] <= 12
        assert 28 <= loose.stop[1] <= 31


def test_dice_of_known_masks():
    left, right = np.zeros((4, 1, 1), bool), np.zeros((4, 1, 1), bool)
    left[:2], right[1:3] = True, True
    assert dice(left, right) == 0.5


def test_the_ellipse_touches_the_sides_of_its_box():
    mask = ellipse(np.zeros((40, 60, 3), np.uint8), (10, 5, 30, 35))
    rows, columns = np.nonzero(mask)
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (10, 30, 5, 35)
    assert mask.sum() == pytest.approx(np.pi * 10 * 15, rel=0.02)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_find_a_plain_disk(name):
    truth = disk(centre=(30, 20), radius=10)[..., 0].T
    image = np.where(truth[..., None], 200, 40).astype(np.uint8).repeat(3, axis=2)
    assert dice(truth, BASELINES[name](image, (20, 10, 41, 31))) > 0.95


def test_large_pictures_are_shrunk_for_slow_baselines():
    seen = []

    def spy(image, box):
        seen.append((image.shape[:2], box))
        return ellipse(image, box)

    mask = at_working_size(spy)(np.zeros((800, 1024, 3), np.uint8), (100, 200, 500, 600))
    assert seen == [((400, 512), (50, 100, 250, 300))]
    assert mask.shape == (800, 1024)


def result(dataset, case, value, *, is_3d=False):
    return Result(dataset, "CT", case, is_3d, {"box": value})


RESULTS = [result("a", "a/1", 1.0), result("a", "a/1", 0.0), result("a", "a/2", 0.9), result("b", "b/1", 0.3)]


def test_means_go_over_objects_then_cases_then_data_sets():
    assert case_means(RESULTS, "box")["a"].tolist() == [0.5, 0.9]
    estimate = macro(RESULTS, "box")
    assert estimate.mean == pytest.approx((0.7 + 0.3) / 2)
    assert estimate.low == pytest.approx((0.5 + 0.3) / 2)
    assert estimate.high == pytest.approx((0.9 + 0.3) / 2)


def test_the_report_and_the_card_have_the_figures():
    assert "| 2D sets | 2 | 3 | 4 | 0.500 [0.400, 0.600] |" in report(RESULTS, ["box"])
    assert summary(RESULTS, ["box"]) == {"Dice, box, 2 2D evaluation sets": pytest.approx(0.5)}


def test_the_card_keeps_its_head_and_gets_new_tables():
    card = updated(f'name = "m"\n{MARK}[scores]\nold = 1\n', files={"a.onnx": "00"}, scores={"box": 0.5})
    assert tomllib.loads(card) == {"name": "m", "scores": {"box": 0.5}, "files": {"a.onnx": "00"}}
    with pytest.raises(ValueError, match="no line"):
        updated("name = 1", files={}, scores={})


def test_a_part_of_a_page_is_replaced_and_the_rest_kept(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- speed -->\nold\n<!-- end of speed -->\nbelow\n")
    for text in ("first", "second"):
        replace_part(page, "speed", text)
    assert page.read_text() == "above\n<!-- speed -->\n\nsecond\n\n<!-- end of speed -->\nbelow\n"
    with pytest.raises(ValueError, match="no part"):
        replace_part(page, "quality", "x")


@pytest.fixture
def folder(tmp_path):
    phantom = picture(96, 64)
    Pillow.fromarray(phantom.image.array[0, :, :, 0].T.copy()).save(tmp_path / "image.png")
    Pillow.fromarray(phantom.truth.array[:, :, 0].T.copy()).save(tmp_path / "mask.png")
    entry = {"image": "image.png", "mask": "mask.png", "modality": "US", "ndim": 2, "dataset": "d"}
    lines = [entry | {"id": f"d/{n}", "use": "train" if n == 0 else "evaluate"} for n in range(5)]
    (tmp_path / "cases.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def test_only_cases_to_evaluate_on_are_listed_evenly(folder):
    assert [case.id for case in evaluation_cases(folder)] == ["d/1", "d/2", "d/3", "d/4"]
    assert [case.id for case in evaluation_cases(folder, limit=2)] == ["d/1", "d/4"]


def test_a_perfect_model_gets_full_marks(folder):
    (scene,) = scenes(evaluation_cases(folder)[0])
    results = measure(scene, {}, FakeModel())
    assert [r.dice["box"] for r in results] == [1.0, 1.0]
    assert [r.dice["1 click"] for r in results] == [1.0, 1.0]


def test_a_case_that_cannot_be_read_is_left_out_aloud(folder, capsys):
    case = evaluation_cases(folder)[0]
    (folder / "image.png").write_bytes(b"")
    assert list(scenes(case)) == []
    assert "left out d/1" in capsys.readouterr().out
