"""What is kept of a unit is done anew when what it was made of has changed."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from samaritan.core.image import LabelMap
from samaritan.data import Case, Reference, open_data
from samaritan.evaluate.predictions import Listing
from samaritan.evaluate.runner import run, waiting_units
from samaritan.evaluate.sources import Sources
from samaritan.evaluate.store import OBJECTS
from samaritan.evaluate.tables import tables_of
from samaritan.io import read_labels, write


@pytest.fixture
def others(plan, folder, tmp_path):
    """A plan about masks by others: copies of the references."""
    predicted = tmp_path / "nnunet"
    shutil.copytree(folder / "masks", predicted)
    return plan(loaders={}, folders={"nnunet": predicted}), predicted


def moved(path, by=4):
    """Write a mask anew, moved by some voxels."""
    labels = read_labels(path)
    write(LabelMap(np.roll(labels.array, by, axis=0), labels.geometry, labels.names), path)


def dice_of(plan, case):
    return [round(row["dice"], 3) for row in tables_of(plan).rows if row["case"] == case]


def test_what_was_predicted_anew_is_scored_anew(others):
    given, predicted = others
    run(given)
    assert dice_of(given, "p1_a") == [1, 1]
    moved(predicted / "p1_a.nii.gz")
    ran = run(given)
    assert (ran.done, ran.kept) == (1, 2)
    assert all(score < 1 for score in dice_of(given, "p1_a"))
    (predicted / "p1_b.nii.gz").unlink()
    assert [case for case, _ in run(given).errors] == ["p1_b"]
    assert dice_of(given, "p1_b") == []


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_corrected_case_is_asked_about_anew(plan, folder, kind):
    given = plan(protocols=("box",))
    run(given)
    before = given.store.get("p1_a", OBJECTS)
    path = folder / kind / "p1_a.nii.gz"
    if kind == "masks":
        moved(path)
    else:
        os.utime(path, ns=(1, 1))
    ran = run(given)
    assert (ran.done, ran.kept) == (1, 2)
    assert given.store.get("p1_a", OBJECTS)["made_of"] != before["made_of"]
    assert run(given).done == 0


def test_another_model_of_the_same_name_is_asked_anew(plan):
    first = plan(protocols=("box",), weights={"fake": "a"})
    run(first)
    assert waiting_units(first) == ([], 3)
    again = replace(first, weights={"fake": "b"})
    assert run(again).done == 3
    assert run(again).done == 0


def test_labels_that_are_called_otherwise_now_are_asked_about_anew(plan):
    given = plan(protocols=("box",))
    run(given)
    data = given.data
    renamed = [replace(case, reference=replace(case.reference, names={1: "hepar"})) for case in data.cases]
    run(replace(given, data=replace(data, cases=tuple(renamed))))
    assert given.store.get("p1_a", "fake", "box")["objects"][0]["name"] == "hepar"


def test_what_is_of_other_files_is_in_no_table_even_if_the_run_ends_early(others):
    given, predicted = others
    run(given)
    moved(predicted / "p1_b.nii.gz")

    def stopped(_work, _units):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(given, mapper=stopped)
    assert {row["case"] for row in tables_of(given).rows} == {"p1_a", "p2_c"}


def test_a_series_in_a_folder_and_voxels_beside_a_header_are_looked_at(tmp_path):
    (tmp_path / "series").mkdir()
    for name in ("series/1.dcm", "a.mhd", "a.raw", "m.png"):
        (tmp_path / name).write_bytes(b"before")

    def seen(image):
        case = Case(id="a", images=(image,), reference=Reference("labels", ("m.png",)))
        return Sources(tmp_path, {}, {}).of_case(case)

    for image, changed in (("series", "series/1.dcm"), ("a.mhd", "a.raw"), ("m.png", "m.png")):
        before = seen(image)
        assert seen(image) == before
        (tmp_path / changed).write_bytes(b"afterwards")
        assert seen(image) != before
    assert seen("gone.png") != seen("m.png")


def test_predictions_are_found_by_the_names_of_cases(tmp_path):
    for name in ("a/b.png", "a_b.nii.gz", "c.png", "d/c.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    listing = Listing(tmp_path)
    assert listing.of("a/b") == tmp_path / "a/b.png"
    assert listing.of("a_b") == tmp_path / "a_b.nii.gz"
    assert listing.of("c") == tmp_path / "c.png"
    assert listing.of("d/c") == tmp_path / "d/c.png"
    assert listing.of("notes") is None


def test_a_finished_run_is_looked_at_without_reading_images(plan, folder, monkeypatch):
    given = plan(protocols=("box",))
    run(given)
    monkeypatch.setattr("samaritan.evaluate.unit.read_image", None)
    assert run(replace(given, data=open_data(folder))).kept == 3
