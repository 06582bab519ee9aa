import json

import numpy as np
import pytest

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.data import open_data
from samaritan.evaluate.runner import run
from samaritan.evaluate.subjects import Choice
from samaritan.evaluate.tables import tables_of
from samaritan.evaluate.unit import Settings
from samaritan.io import write
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


class _Greedy(FakeModel):
    """Answers with all of the picture."""

    def decode(self, embedding, prompts, previous=None):
        answer = super().decode(embedding, prompts, previous)
        answer.logits[...] = 1
        return answer
