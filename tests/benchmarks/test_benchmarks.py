"""The protocol of the benchmarks: what is asked for, how it is scored and summed up."""

import json
import subprocess
import tomllib
from argparse import ArgumentTypeError
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from benchmarks.cases import evaluation_cases, is_trained_on, scenes
from benchmarks.default_model import (
    BASELINES,
    ORACLE,
    OWN,
    Record,
    by_modality,
    goals,
    left_out,
    measure_baselines,
    measure_model,
    oracle,
    report,
    summary,
)
from benchmarks.failures import by_kind, recorded_answers, sheet, synthetic_answers, write
from benchmarks.macro import Result, case_means, iou_of, macro
from benchmarks.model_speed import click_seconds
from benchmarks.page import page_with, replace_part
from benchmarks.update_card import BENCHMARKS, MARK, PAGE, speed_table, updated
from benchmarks.volumes import ellipsoid, one_a_patient, patient
from benchmarks.volumes import report as volume_report
from PIL import Image as Pillow
from training.measures import dice

from benchmarks import speed
from samaritan.core.errors import GeometryMismatchError, WriteError
from samaritan.core.prompts import Box, Prompts
from samaritan.models import DEFAULT_MODEL, model_card
from samaritan.testing import FakeModel
from samaritan.testing.phantoms import picture


def disk(width=60, height=40, centre=(30, 20), radius=8):
    i, j = np.ogrid[0:width, 0:height]
    return ((i - centre[0]) ** 2 + (j - centre[1]) ** 2 <= radius**2)[..., None]


def test_dice_of_known_masks():
    left, right = np.zeros((4, 1, 1), bool), np.zeros((4, 1, 1), bool)
    left[:2], right[1:3] = True, True
    assert dice(left, right) == 0.5


def result(dataset, case, value, *, is_3d=False):
    return Result(dataset, "CT", case, 1, is_3d, {"box": value})


RESULTS = [result("a", "a/1", 1.0), result("a", "a/1", 0.0), result("a", "a/2", 0.9), result("b", "b/1", 0.3)]


def test_means_go_over_objects_then_cases_then_data_sets():
    assert case_means(RESULTS, lambda row: row.dice["box"])["a"].tolist() == [0.5, 0.9]
    estimate = macro(RESULTS, "box")
    assert estimate.mean == pytest.approx((0.7 + 0.3) / 2)
    assert estimate.low == pytest.approx((0.5 + 0.3) / 2)
    assert estimate.high == pytest.approx((0.9 + 0.3) / 2)


def test_the_report_and_the_card_have_the_figures():
    rows = [replace(row, dice=dict.fromkeys(OWN, row.dice["box"]) | {ORACLE: 0.75}) for row in RESULTS]
    assert "| 2D sets | 2 | 3 | 4 | 0.500 [0.400, 0.600] |" in report(rows, ["box"])
    assert "| CT | 2 | 4 | 0.500 [0.400, 0.600] |" in by_modality(rows)
    figures = summary(rows)
    assert figures["summary"]["Dice, box, 2 evaluation sets"] == pytest.approx(0.5)
    assert figures["oracle"] == {f"Dice, {ORACLE}, 2 evaluation sets": pytest.approx(0.75)}
    assert not any(ORACLE in name for name in figures["summary"])
    assert "| CT | 4 | 0.500 [0.400, 0.600] | 0.750 [0.750, 0.750] | 0.250 |" in oracle(rows)


def test_the_card_keeps_its_head_and_gets_new_tables():
    card = updated(f'name = "m"\n{MARK}[scores]\nold = 1\n', files={"a.onnx": "00"}, scores={"box": 0.5})
    assert tomllib.loads(card) == {"name": "m", "scores": {"box": 0.5}, "files": {"a.onnx": "00"}}
    with pytest.raises(ValueError, match="no line"):
        updated("name = 1", files={}, scores={})


def test_the_models_page_has_the_speeds_of_the_benchmarks():
    table = "| 2 cores | measured |\n| --- | --- |\n| `import samaritan` | 0.1 s |\n| a lone click | 0.2 s |\n"
    page = f"| a | b |\n<!-- speed -->\n\n{table}\n<!-- end of speed -->\n| c | d |\n"
    assert speed_table(page) == "| 2 cores | measured |\n| --- | --- |\n| a lone click | 0.2 s |"
    with pytest.raises(ValueError, match="no table of speeds; run python -m"):
        speed_table("<!-- speed -->\n\n*Not measured yet.*\n\n<!-- end of speed -->\n")
    root = Path(__file__).parents[2]
    assert speed_table((root / BENCHMARKS).read_text()) in (root / PAGE).read_text()


def test_a_part_of_a_page_is_replaced_and_the_rest_kept(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- speed -->\nold\n<!-- end of speed -->\nbelow\n")
    for text in ("first", "second"):
        replace_part(page, "speed", text)
    assert page.read_text() == "above\n<!-- speed -->\n\nsecond\n\n<!-- end of speed -->\nbelow\n"
    with pytest.raises(ValueError, match="no part"):
        replace_part(page, "quality", "x")
    assert page_with("speed")(str(page)) == page
    for name, wrong, said in (("quality", page, "no part"), ("speed", tmp_path / "none.md", "No such file")):
        with pytest.raises(ArgumentTypeError, match=said):  # before any work begins
            page_with(name)(str(wrong))


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
    answers = measure_model(scene, FakeModel())
    for answer in answers:
        assert {answer.dice[prompt] for prompt in ("box", "1 click", ORACLE, "10 clicks")} == {1.0}
        assert answer.iou_error["box"] < 0.2
    assert [set(row) for row in measure_baselines(scene)] == [set(BASELINES)] * len(answers)


class SecondIsRight(FakeModel):
    """Puts an empty mask before what it finds."""

    def decode(self, *args):
        right = super().decode(*args)
        logits = np.concatenate([np.full_like(right.logits[:1], -9), right.logits[:1]])
        return replace(right, logits=logits, scores=np.full(2, right.score, np.float32))


def test_the_best_mask_of_a_click_counts_apart_from_the_first(folder):
    (scene,) = scenes(evaluation_cases(folder)[0])
    for answer in measure_model(scene, SecondIsRight()):
        assert (answer.dice["1 click"], answer.dice[ORACLE]) == (0.0, 1.0)
        assert ORACLE not in answer.iou_error
    assert ORACLE not in OWN


class Counting(FakeModel):
    decoded = 0

    def decode(self, *args):
        type(self).decoded += 1
        return super().decode(*args)


def test_a_run_goes_on_from_its_record_and_keeps_the_baselines(folder, tmp_path):
    case = evaluation_cases(folder)[0]
    model = Counting()
    first = Record(tmp_path / "rows.json", model.card, again=False).measure(case, model)
    decoded = Counting.decoded
    assert Record(tmp_path / "rows.json", model.card, again=False).measure(case, model) == first
    assert Counting.decoded == decoded
    anew = Record(tmp_path / "rows.json", model.card, again=True)
    anew.baselines[case.id]["1"]["GrabCut"] = 0.125
    assert anew.measure(case, model)[0].dice["GrabCut"] == 0.125
    assert Counting.decoded > decoded


def test_answers_to_other_questions_are_measured_anew_and_the_baselines_kept(folder, tmp_path):
    case, path = evaluation_cases(folder)[0], tmp_path / "rows.json"
    Record(path, FakeModel().card, again=False).measure(case, FakeModel())
    kept = json.loads(path.read_text())
    del kept["answers_version"]  # as runs wrote them that did not ask for the best mask
    for row in kept["answers"][case.id].values():
        del row["dice"][ORACLE]
    kept["baselines"][case.id]["1"]["GrabCut"] = 0.125
    path.write_text(json.dumps(kept))
    first, *_ = Record(path, FakeModel().card, again=False).measure(case, FakeModel())
    assert (first.dice[ORACLE], first.dice["GrabCut"]) == (1.0, 0.125)


def test_answers_of_other_weights_are_not_taken(folder, tmp_path):
    case, model = evaluation_cases(folder)[0], Counting()
    Record(tmp_path / "rows.json", model.card, again=False).measure(case, model)
    other = Record(tmp_path / "rows.json", replace(model.card, sha256="1" * 64), again=False)
    assert not other.answers
    assert case.id in other.baselines


def test_goals_say_what_is_met():
    scores = {"box": 0.9, "loose box": 0.86, **dict.fromkeys(BASELINES, 0.8)}
    scores |= {f"{n} click{'s' if n > 1 else ''}": 0.85 - 0.001 * (n == 4) for n in range(1, 11)}
    row = Result("a", "CT", "a/1", 1, is_3d=False, dice=scores, iou_error=dict.fromkeys(OWN, 0.01))
    page = goals([row])
    assert "| Dice, tight box | at least 0.88 | 0.900 | 0.900 | yes |" in page
    assert "| Dice lost by a box off by up to 10% | at most 0.03 | 0.040 | 0.040 | no |" in page
    assert "| Dice, 10 clicks | at least 0.91 | 0.850 | 0.850 | no |" in page
    assert "worst modality | at least 0.03 | 0.100 | 0.100 | yes |" in page
    assert "by a further click | at most 0.0 | 0.001 | 0.001 | no |" in page
    assert "predicted IoU | at most 0.08 | 0.010 | 0.010 | yes |" in page


def test_the_error_of_the_predicted_iou_is_a_macro_mean_too():
    scores = dict.fromkeys([*OWN, *BASELINES, *(f"{n} clicks" for n in range(2, 11))], 0.9)
    errors = {"a": [0.1, 0.1, 0.1], "b": [0.3]}
    rows = [
        Result(name, "CT", f"{name}/{number}", 1, is_3d=False, dice=scores, iou_error=dict.fromkeys(OWN, error))
        for name, values in errors.items() for number, error in enumerate(values)
    ]  # fmt: skip
    assert "predicted IoU | at most 0.08 | 0.200 | 0.200 | no |" in goals(rows)


def test_iou_from_dice():
    assert iou_of(0.5) == pytest.approx(1 / 3)


def test_one_volume_a_patient(tmp_path):
    names = ["acdc3d/patient001_frame01", "acdc3d/patient001_frame12", "ibsi_sts/STS_001_CT", "ibsi_sts/STS_001_PET",
        "msd_hippocampus/hippocampus_001", "other/x_1"]  # fmt: skip
    lines = [json.dumps({"id": name, "dataset": name.split("/")[0]}) for name in names]
    (tmp_path / "cases.jsonl").write_text("\n".join(lines))
    assert [line["id"] for line in one_a_patient(tmp_path)] == [names[0], names[2], names[4]]
    assert patient(names[3]) == "ibsi_sts/STS_001"


def test_the_ellipsoid_fills_its_share_of_the_box():
    mask = ellipsoid(Box((4, 8, 2), (44, 38, 22)), (50, 40, 30))
    assert mask.sum() == pytest.approx(np.pi / 6 * 40 * 30 * 20, rel=0.02)
    assert mask[24, 23, 2]
    assert not mask[4, 8, 2]


CARD = replace(FakeModel().card, training_data=("ibsi_sts: sarcoma (CC-BY-3.0)", "busi, dsb2018: others (MIT)"))


def test_a_set_that_the_card_names_is_trained_on():
    assert is_trained_on(CARD, "ibsi_sts")
    assert is_trained_on(CARD, "dsb2018")
    assert not is_trained_on(CARD, "ibsi")


def test_no_evaluation_set_of_the_pictures_was_trained_on():
    card = model_card(DEFAULT_MODEL)
    assert is_trained_on(card, "busi")
    assert not any(is_trained_on(card, name) for name in ("kits2d", "acdc2d", "acdc3d", "msd_hippocampus", "wbc_1"))


def test_the_tables_of_volumes_have_the_figures():
    scores = {"3D box": 0.75, "ellipsoid in the box": 0.5, "a box for each slice (oracle)": 0.875}
    box = Result("acdc3d", "MR", "p1", 1, is_3d=True, dice=scores)
    stroke = Result("acdc3d", "MR", "p1", 2, is_3d=True, dice={"scribble": 0.9, "scribble and background's": 0.95})
    page = volume_report([box, replace(box, dataset="ibsi_sts", dice=dict.fromkeys(box.dice, 1.0))], [stroke], CARD)
    assert "| all that it never saw | 1 | 1 | 0.750 [0.750, 0.750] | 0.500" in page
    assert "| ibsi_sts (trained on) | 1 | 1 | 1.000" in page
    assert "| acdc3d | 1 | 1 | 0.750 [0.750, 0.750] | 0.500 [0.500, 0.500] | 0.875" in page
    assert "| structure 2 | 1 | 0.900" in page


def test_a_case_that_cannot_be_read_is_left_out_until_it_can(folder, tmp_path, capsys):
    case, whole = evaluation_cases(folder)[0], (folder / "image.png").read_bytes()
    (folder / "image.png").write_bytes(b"")
    record = Record(tmp_path / "rows.json", FakeModel().card, again=False)
    assert record.measure(case, FakeModel()) == []
    assert record.unreadable == [case.id]
    assert "cannot read d/1" in capsys.readouterr().out
    (folder / "image.png").write_bytes(whole)
    later = Record(tmp_path / "rows.json", FakeModel().card, again=False)
    assert later.measure(case, FakeModel())
    assert later.unreadable == []


def test_a_mask_on_another_grid_is_refused(folder):
    Pillow.new("L", (5, 5)).save(folder / "mask.png")
    with pytest.raises(GeometryMismatchError, match=r"mask of \(5, 5, 1\) for an image of \(96, 64, 1\)"):
        list(scenes(evaluation_cases(folder)[0]))


def test_what_was_left_out_is_said(folder):
    cases = evaluation_cases(folder)
    rows = [result("d", case.id, 1.0) for case in cases]
    assert left_out(cases, rows, []) == "Of 4 cases 4 count."
    assert left_out(cases, rows[:2], ["d/3"]) == (
        "Of 4 cases 2 count. Left out: 1 without an object that is large enough; 1 that cannot be read (d/3)."
    )


def test_a_picture_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(WriteError, match=r"nowhere.sheet\.png"):
        write(tmp_path / "nowhere" / "sheet.png", np.zeros((4, 4, 3), np.uint8))


def test_every_click_has_a_time_and_the_same_goal(monkeypatch):
    phantom = picture(512, 512, colour=True)
    model = FakeModel()
    box = Prompts(phantom.image.geometry, (phantom.box(1),))
    times = click_seconds(model, model.embed(phantom.image), box, rounds=1)
    assert set(times) == set(speed.CLICKS.values())
    found = dict.fromkeys(times, 0.05) | {"embed_s": 0.0, "peak_mib": 1.0, "grabcut_s": 1.0}
    answer = subprocess.CompletedProcess([], 0, stdout=json.dumps(found))
    monkeypatch.setattr(speed.subprocess, "run", lambda *_args, **_options: answer)
    rows = [figure.row for figure in speed.model_figures() if "click" in figure.what]
    assert len(rows) == 3
    assert all(row.endswith("| 0.050 s | ≤ 0.04 s | **no** |") for row in rows)


def test_failures_are_drawn_worst_kind_first():
    answers = list(islice(synthetic_answers(FakeModel()), 3))
    worse = [replace(answer, kind="worse", dice=0.0) for answer in answers]
    assert list(by_kind([*answers, *worse])) == ["worse", answers[0].kind]
    picture = sheet([*answers, *worse])
    assert picture.shape[1] % 4 == 0
    assert picture.std() > 0


def test_what_failed_on_record_is_asked_for_again(folder, tmp_path):
    case = evaluation_cases(folder)[0]
    Record(tmp_path / "rows.json", FakeModel().card, again=False).measure(case, FakeModel())
    (answer,) = recorded_answers(FakeModel(), folder, tmp_path / "rows.json", count=1)
    assert (answer.kind, answer.case) == ("US d", f"{case.id}, label 1")
    assert answer.dice == 1.0
    assert not list(recorded_answers(FakeModel(), folder, tmp_path / "rows.json", count=1, held_out=True))


def test_what_failed_on_record_of_the_held_out_sets_is_asked_for_too(folder, tmp_path):
    (folder / "cases.jsonl").write_text((folder / "cases.jsonl").read_text().replace('"d"', '"carotid"'))
    case = evaluation_cases(folder, held_out=True)[0]
    Record(tmp_path / "rows.json", FakeModel().card, again=False).measure(case, FakeModel())
    (answer,) = recorded_answers(FakeModel(), folder, tmp_path / "rows.json", count=1, held_out=True)
    assert answer.kind == "US carotid"
