import json

import numpy as np
import pytest

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.data import Reference, open_data
from samaritan.evaluate.given import instances_in
from samaritan.evaluate.runner import run
from samaritan.evaluate.subjects import Choice
from samaritan.evaluate.tables import tables_of
from samaritan.evaluate.unit import Settings
from samaritan.io import read_labels, write
from samaritan.testing.fake_model import FakeModel


@pytest.fixture
def cells(tmp_path):
    """A picture with six bright squares, each an instance."""
    root = tmp_path / "cells"
    root.mkdir()
    labels = np.zeros((60, 60, 1), np.uint8)
    for n in range(6):
        i, j = 5 + 18 * (n // 2), 8 + 26 * (n % 2)
        labels[i : i + 12, j : j + 12] = n + 1
    grey = np.where(labels > 0, 200, 20).astype(np.uint8)
    write(Image(grey[None], Geometry.picture(60, 60)), root / "a.png")
    write(LabelMap(labels, Geometry.picture(60, 60)), root / "m.nii.gz")
    row = {"image": "a.png", "mask": "m.nii.gz", "mask_type": "instances", "labels": {"class": "nucleus"}}
    (root / "cases.jsonl").write_text(json.dumps(row) + "\n")
    return open_data(root)


def found(plan, cells, **options):
    given = plan(data=cells, **options)
    ran = run(given)
    assert not ran.errors
    return tables_of(given).instances


def test_answers_to_prompts_are_counted_together(plan, cells):
    (row,) = found(plan, cells, protocols=("box",))
    assert (row["label"], row["references"], row["predictions"]) == ("nucleus", 6, 6)
    assert row["f1"] == 1
    assert row["panoptic_quality"] == pytest.approx(row["segmentation_quality"])
    assert row["average_precision"] == 1


def test_of_answers_that_overlap_the_surer_one_keeps_the_pixels(plan, cells):
    (row,) = found(plan, cells, protocols=("box",), loaders={"greedy": _Greedy})
    assert (row["references"], row["predictions"]) == (6, 1)  # each covers all: one is left
    assert (row["f1"], row["sensitivity"], row["average_precision"]) == (0, 0, 0)


def test_what_is_found_of_everything_is_compared_with_all_instances_asked_about_or_not(plan, cells):
    settings = Settings(choice=Choice(most=2))
    prompted, everything = found(plan, cells, protocols=("box", "everything"), settings=settings)
    assert (prompted["references"], everything["references"]) == (2, 6)
    assert (everything["label"], everything["value"]) == ("", None)
    assert 0 < everything["sensitivity"] <= 1


def test_labels_without_instances_have_no_row(plan):
    given = plan(protocols=("box", "everything"))
    run(given)
    assert tables_of(given).instances == []


@pytest.fixture
def by_others(plan, cells, tmp_path):
    """Write a map of instances as somebody else's, and return rows of objects and of instances."""

    def make(change, data=cells, **choice):
        folder = tmp_path / "theirs"
        folder.mkdir(exist_ok=True)
        truth = read_labels(data.root / "m.nii.gz")
        array = np.asarray(change(truth.array.astype(np.uint16)))
        write(LabelMap(array, truth.geometry), folder / f"{data.cases[0].id}.nii.gz")
        settings = Settings(choice=Choice(**choice))
        given = plan(data=data, loaders={}, folders={"theirs": folder}, settings=settings)
        assert not run(given).errors
        tables = tables_of(given)
        return tables.rows, tables.instances

    return make


def test_a_map_of_instances_by_others_is_matched_whatever_its_values(by_others):
    for change in (lambda labels: labels, lambda labels: np.where(labels, 300 - labels, 0)):
        rows, (row,) = by_others(change)
        assert [found["dice"] for found in rows] == [1] * 6
        assert (row["label"], row["protocol"], row["references"], row["predictions"]) == ("nucleus", "given", 6, 6)
        assert (row["panoptic_quality"], row["average_precision"], row["accuracy"]) == (1, 1, 1)


def test_each_instance_by_others_stands_for_one_object(by_others):
    rows, (row,) = by_others(lambda labels: np.where(np.isin(labels, (1, 2)), 1, labels) * (labels != 3))
    assert sorted(found["dice"] for found in rows) == pytest.approx([0, 0, 2 / 3, 1, 1, 1])
    assert (row["references"], row["predictions"], row["sensitivity"]) == (6, 4, pytest.approx(4 / 6))
    assert row["precision"] == 1  # an IoU of .5 is enough


def test_instances_by_others_are_compared_with_those_too_that_are_not_drawn(by_others):
    rows, (row,) = by_others(lambda labels: labels, most=2)
    assert [found["dice"] for found in rows] == [1, 1]
    assert (row["references"], row["panoptic_quality"]) == (6, 1)


def test_all_of_a_label_may_be_one_object(by_others):
    ((row,), instances) = by_others(lambda labels: labels, merged=True)
    assert (row["dice"], instances) == (1, [])


@pytest.mark.parametrize("dims", [2, 3])
def test_instances_by_others_in_volumes(plan, by_others, tmp_path, dims):
    root = tmp_path / "lesions"
    root.mkdir()
    labels = np.zeros((30, 30, 6), np.uint8)
    labels[2:10, 2:10, 1:4], labels[2:9, 15:22, 2:5], labels[15:25, 3:9, 3] = 1, 2, 3
    grid = Geometry.from_spacing(labels.shape)
    write(Image(np.where(labels > 0, 200, 20).astype(np.uint8)[None], grid), root / "a.nii.gz")
    write(LabelMap(labels, grid), root / "m.nii.gz")
    row = {"image": "a.nii.gz", "mask": "m.nii.gz", "mask_type": "instances", "labels": {"class": "lesion"}}
    (root / "cases.jsonl").write_text(json.dumps(row) + "\n")
    rows, instances = by_others(lambda array: (4 - array.astype(int)) * (array > 0), open_data(root), dims=dims)
    assert [found["dice"] for found in rows] == [1, 1, 1]
    assert [found["panoptic_quality"] for found in instances] == [1] * len(instances)
    assert len(instances) == (1 if dims == 3 else len({found["index"] for found in rows}))


def test_of_a_label_map_by_others_pieces_are_instances():
    reference = Reference("coco", ("a.json",), names={1: "cell", 2: "bud"})
    labels = np.zeros((12, 12, 1), np.uint8)
    labels[1:4, 1:4], labels[1:4, 6:9], labels[6:9, 6:9] = 1, 1, 2
    found = instances_in(labels, reference, [1, 2])
    assert len(np.unique(found)) == 4
    assert np.array_equal(found > 0, labels > 0)
    labels[6:9, 6:9] = 7  # no label has it: so it counts objects
    assert np.array_equal(instances_in(labels, reference, [1, 2]), labels)


class _Greedy(FakeModel):
    """Answers with all of the picture."""

    def decode(self, embedding, prompts, previous=None):
        answer = super().decode(embedding, prompts, previous)
        answer.logits[...] = 1
        return answer
