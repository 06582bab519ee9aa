"""`samaritan inspect` as its user sees it."""

import json

import numpy as np
import pytest
from PIL import Image as Pillow

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.data.layouts import open_data
from samaritan.io import write

GEOMETRY = Geometry.from_spacing((24, 20, 6), (1.0, 1.0, 5.0))


@pytest.fixture
def folder(place):
    root = place / "data"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(6):
        values = np.random.default_rng(number).normal(size=(1, *GEOMETRY.shape)).astype(np.float32)
        mask = np.zeros(GEOMETRY.shape, np.uint8)
        mask[4:12, 5:15, 1:4] = 1
        write(Image(values, GEOMETRY), root / f"images/p{number // 2}_{number}.nii.gz")
        write(LabelMap(mask, GEOMETRY), root / f"masks/p{number // 2}_{number}.nii.gz")
    return root


def test_a_data_set_in_words(run, folder):
    shown = run("inspect", folder, "--workers", 1)
    assert shown.code == 0, shown.err
    assert "6 cases of unknown patients; paired folders (images/ and masks/)" in shown.out
    assert "orientations: RAS 6" in shown.out
    assert "24 x 20 x 6" in shown.out
    assert "label 1" in shown.out


def test_json_splits_patients_and_a_manifest(run, folder):
    shown = run(
        "inspect",
        folder,
        "--workers",
        1,
        "--patient",
        "^[^_]+",
        "--splits",
        "train=0.67,test=0.33",
        "--write",
        "--json",
    )
    facts = json.loads(shown.out)
    assert (facts["patients"], facts["splits"]) == (3, {"train": 4, "test": 2})
    data = open_data(folder)
    assert facts["outputs"]["manifest"].endswith("samaritan.yaml")
    assert {case.patient for case in data.cases if case.split == "test"}.isdisjoint(
        {case.patient for case in data.cases if case.split == "train"}
    )
    again = run("inspect", folder, "--workers", 1)  # with the manifest there, the folder is still what is looked at
    assert "paired folders" in again.out


def test_a_manifest_elsewhere_and_a_contact_sheet(run, folder, place):
    (folder / "images" / "bad.png").write_bytes(b"no picture")
    shown = run("inspect", folder, "--workers", 1, "-o", place / "run", "--contact-sheet", place / "sheet.png")
    assert shown.code == 1
    assert "error: unreadable: 1" in shown.out
    assert not (folder / "samaritan.yaml").exists()
    assert len(open_data(place / "run").cases) == 7
    with Pillow.open(place / "sheet.png") as sheet:
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(1_000_000)}
    assert (86, 180, 233) in colours  # an outline
    assert (60, 20, 20) in colours  # the case that cannot be read


def test_parts_of_a_data_set(run, folder):
    shown = run("inspect", folder, "--workers", 1, "--limit", 2, "--json")
    assert json.loads(shown.out)["cases"] == 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--splits", "train"], "NAME=SHARE"),
        (["--splits", "train=0.5"], "sum to 1"),
        (["--where", "site"], "COLUMN=VALUE"),
        (["--modality", "CT"], "unknown modality 'CT'"),
        (["--layout", "nnunet"], "dataset.json"),
        (["--layout", "nnu"], "Did you mean"),
        (["--patient", "^x"], "is not found"),
        (["--contact-sheet", "sheet.txt"], "the name of a picture"),
    ],
)
def test_wrong_options(run, folder, options, reason):
    shown = run("inspect", folder, "--workers", 1, *options)
    assert shown.code != 0
    assert shown.out == ""
    assert reason in shown.err
    assert "Traceback" not in shown.err
