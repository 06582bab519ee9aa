"""`samaritan report` as its user sees it."""

import csv
import re
import shutil

import numpy as np
import pytest

from samaritan.core.image import LabelMap
from samaritan.io import read_labels, write
from samaritan.testing.phantoms import ct_volume


@pytest.fixture
def runs(run, place):
    """Two runs: one with masks of others beside the model, one of another protocol."""
    root = place / "data"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    (place / "others").mkdir()
    for number in range(3):
        phantom = ct_volume((40 + 4 * number, 40, 8))
        write(phantom.image, root / f"images/p{number}.nii.gz")
        write(phantom.truth, root / f"masks/p{number}.nii.gz")
        labels = read_labels(root / f"masks/p{number}.nii.gz")
        write(LabelMap(np.roll(labels.array, 2, 0), labels.geometry), place / f"others/p{number}.nii.gz")
    assert run("evaluate", root, "--model", "fake", "--predictions", place / "others", "-o", place / "one").code == 0
    assert run("evaluate", root, "--model", "fake", "--protocol", "box", "-o", place / "two").code == 0
    return place / "one", place / "two"


def test_a_page_that_needs_nothing_else(run, runs, place):
    shown = run("report", runs[0], "-o", place / "page.html")
    assert shown.code == 0, shown.err
    page = (place / "page.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "http" not in re.sub(r"http://www\.w3\.org\S*|http://purl\S*|http://creativecommons\S*", "", page)
    assert page.count("<svg") == 3  # a curve, the spread, the calibration
    assert page.count("data:image/png;base64,") > 6
    assert "samaritan" in page
    files = {path.name for path in (place / "page_files").iterdir()}
    assert {"means.csv", "table.tex", "curve-clicks.svg", "distribution.svg", "calibration.svg"} <= files
    before = page
    run("report", runs[0], "-o", place / "page.html")
    assert (place / "page.html").read_text() == before


def test_runs_are_compared(run, runs, place):
    shown = run("report", *runs, "-o", place / "page.html")
    assert shown.code == 0, shown.err
    page = (place / "page.html").read_text()
    assert "fake (two)" in page
    with (place / "page_files" / "differences.csv").open() as file:
        rows = list(csv.DictReader(file))
    theirs = str(place / "others")
    compared = {(row["first"], row["second"], row["protocol"]): row for row in rows}
    assert compared.keys() == {("fake", "fake (two)", "box")} | {
        (model, theirs, protocol)
        for model, protocols in (("fake", ("m1", "box", "clicks")), ("fake (two)", ("box",)))
        for protocol in protocols
    }
    itself = compared["fake", "fake (two)", "box"]
    assert (float(itself["difference"]), float(itself["p_holm"])) == (0, 1)
    assert (place / "page_files" / "scatter-box-2.svg").exists()


def test_a_page_without_pictures_when_the_data_are_gone(run, runs, place):
    (place / "data").rename(place / "elsewhere")
    shown = run("report", runs[0], "-o", place / "page.html")
    assert shown.code == 0, shown.err
    assert "data:image/png" not in (place / "page.html").read_text()


def test_latex_is_escaped(run, runs, place):
    run("report", runs[0], "-o", place / "page.html")
    table = (place / "page_files" / "table.tex").read_text()
    assert table.count(r"\\") > 3
    assert not re.search(r"(?<!\\)[_%&#](?! )", table.replace(" & ", " "))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere"], "the folder of an evaluation"),
        (["one", "-o", "page.pdf"], "page.html"),
        (["data"], "without a run.json"),
    ],
)
def test_wrong_arguments(run, runs, arguments, reason):
    shown = run("report", *arguments)
    assert shown.code != 0
    assert reason in shown.err
    assert "Traceback" not in shown.err


def test_runs_that_are_no_pairs_are_refused_and_names_stay_apart(run, place, runs):
    root = place / "data"
    box = ("--model", "fake", "--protocol", "box")
    assert run("evaluate", root, *box, "--metrics", "dice,nsd", "--tolerance-mm", 5, "-o", place / "wide").code == 0
    assert run("evaluate", root, *box, "--metrics", "dice,nsd", "-o", place / "narrow").code == 0
    shown = run("report", place / "wide", place / "narrow", "-o", place / "page.html")
    assert shown.code == 1
    assert "tolerance_mm 5.0 and 2.0" in shown.err
    assert "Write a report of each" in shown.err
    other = place / "other"
    shutil.copytree(root, other)
    for number in range(3):
        labels = read_labels(other / f"masks/p{number}.nii.gz")
        array = labels.array.copy()
        array[:, :, ::3] = 0
        write(LabelMap(array, labels.geometry), other / f"masks/p{number}.nii.gz")
    assert run("evaluate", other, *box, "-o", place / "three").code == 0
    shown = run("report", runs[1], place / "three", "-o", place / "page.html")
    assert shown.code == 1
    assert "other objects of the same name, such as case p0" in shown.err
    for name in ("a", "b"):
        assert run("evaluate", root, *box, "-o", place / name / "run").code == 0
    shown = run("report", runs[1], place / "a/run", place / "b/run", "-o", place / "page.html")
    assert shown.code == 0, shown.err
    page = (place / "page.html").read_text()
    assert "fake (run)" in page
    assert "fake (run 2)" in page
