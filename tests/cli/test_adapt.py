"""`samaritan adapt` as its user sees it."""

import csv
import json

import numpy as np
import pytest
from tests.adapt.conftest import blobs

from samaritan.cli._adaptation import _doubts
from samaritan.io import read_labels, write


@pytest.fixture
def folder(place):
    root = place / "data"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(5):
        image, labels = blobs(number)
        write(image, root / f"images/p{number}.png")
        write(labels, root / f"masks/p{number}.png")
    return root


@pytest.mark.slow
def test_an_adapted_model_is_proved_and_used(run, folder, place):
    options = ("adapt", folder, "-o", place / "mine", "--steps", 2, "--images", 2, "--held-out", 0.4)
    shown = run(*options, "--json")
    assert shown.code == 0, shown.err
    told = json.loads(shown.out)
    assert {one["protocol"] for one in told["scores"]} == {"box", "m1"}
    assert all(0 <= one[when] <= 1 for one in told["scores"] for when in ("before", "after"))
    assert (told["cases"]["cases"], told["held_out"]) == (3, 2)
    card = json.loads((place / "mine" / "adapter.json").read_text())
    assert card["metrics"]
    page = (place / "mine" / "report.html").read_text()
    assert "mine (adapted)" in page
    assert str(place) not in page.split("How it was made")[0]
    assert card["method"] == "lora"
    weights = (place / "mine" / "adapter.safetensors").read_bytes()
    again = run(*options)
    assert again.code == 0, again.err
    assert "samaritan segment" in again.out
    assert (place / "mine" / "adapter.safetensors").read_bytes() == weights
    image, _ = blobs(9)
    write(image, place / "new.png")
    shown = run("segment", place / "new.png", "--model", place / "mine", "--box", "20,20:50,50", "-o", place / "m.png")
    assert shown.code == 0, shown.err
    assert np.asarray(read_labels(place / "m.png").array).any()
    other = run(*options[:-4], "--images", 3, "--held-out", 0.4)
    assert other.code == 1
    assert "another folder" in other.err


def test_what_it_would_take(run, folder, place):
    shown = run("adapt", folder, "-o", place / "mine", "--dry-run", "--method", "decoder", "--images", 2)
    assert shown.code == 0, shown.err
    assert "learns: " in shown.out
    assert "4 to train on, 1 held out" in shown.out
    assert not (place / "mine").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--method", "lara"], "Did you mean 'lora'"),
        (["--set", "rank"], "NAME=VALUE"),
        (["--set", "wide=3"], "setting wide of method lora"),
        (["--set", "rank=many"], "rank=many of method lora"),
        (["--set", "where=nowhere"], "nowhere"),
        (["--model", "otsu"], "cannot be adapted"),
        (["--labels", "spleen"], "no object of spleen"),
        (["--limit", "1"], "--held-out 0 trains on all"),
        (["--head", "cnn"], "--head with --task prompt"),
        (["--task", "semantics"], "Did you mean 'semantic'"),
        (["--task", "semantic", "--head", "cmm"], "one of: cnn"),
    ],
)
def test_wrong_options(run, folder, place, options, reason):
    shown = run("adapt", folder, "-o", place / "mine", "--steps", 1, *options)
    assert shown.code != 0
    assert reason in shown.err
    assert "Traceback" not in shown.err


def test_what_the_comparison_says_against_it():
    def told(**differences):
        return list(_doubts([{"protocol": name, "difference": value} for name, value in differences.items()]))

    assert told() == []
    assert told(box=0.03, m1=0.0) == []
    assert [text.split(":")[0] for text in told(box=0.001, m1=-0.001)] == ["nothing was learnt beyond the base"]
    assert [text.split(":")[0] for text in told(box=0.03, m1=-0.01)] == ["by m1 it is worse than its base"]


@pytest.mark.slow
def test_a_model_that_finds_labels_by_itself(run, folder, place):
    options = (
        "adapt",
        folder,
        "-o",
        place / "mine",
        "--task",
        "semantic",
        "--head",
        "cnn",
        "--steps",
        3,
        "--images",
        2,
    )
    shown = run(*options, "--held-out", 0.4, "--json")
    assert shown.code == 0, shown.err
    told = json.loads(shown.out)
    assert [one["label"] for one in told["scores"]] == ["", "core", "rim"]
    assert (place / "mine" / "report.html").is_file()
    card = json.loads((place / "mine" / "adapter.json").read_text())
    assert card["recipe"]["classes"] == {"1": "core", "2": "rim"}
    image, _ = blobs(9)
    write(image, place / "new.png")
    shown = run("segment", place / "new.png", "--model", place / "mine", "-o", place / "m.png", "--json")
    assert shown.code == 0, shown.err
    assert [one["label"] for one in json.loads(shown.out)["objects"]] == ["core", "rim"]
    one = run("segment", place / "new.png", "--model", place / "mine", "--text", "rim", "-o", place / "n.png")
    assert one.code == 0, one.err
    wrong = run("segment", place / "new.png", "--model", place / "mine", "--text", "liver", "-o", place / "n.png")
    assert wrong.code != 0
    assert "core, rim" in wrong.err
    shown = run("evaluate", folder, "--model", place / "mine", "--protocol", "name", "-o", place / "scores", "--json")
    assert shown.code == 0, shown.err


@pytest.mark.slow
def test_methods_side_by_side_and_one_of_them_merged(run, folder, place):
    options = ("--method", "lora", "--method", "houlsby", "-o", place / "all", "--steps", 1, "--images", 2)
    shown = run("adapt", "compare", folder, *options, "--held-out", 0.4)
    assert shown.code == 0, shown.err
    assert [line.split()[0] for line in shown.out.splitlines()] == ["method", "lora", "lora", "houlsby", "houlsby"]
    rows = list(csv.DictReader((place / "all" / "comparison.csv").read_text().splitlines()))
    assert all(float(row["peak_memory_mib"]) > 100 and int(row["learning"]) > 1000 for row in rows)
    merged = run("adapt", "merge", place / "all" / "lora", "-o", place / "whole")
    assert merged.code == 0, merged.err
    image, _ = blobs(9)
    write(image, place / "new.png")
    for name in ("all/lora", "whole"):
        shown = run("segment", place / "new.png", "--model", place / name, "--box", "20,20:50,50", "-o",
                    place / f"{name.replace('/', '-')}.png")  # fmt: skip
        assert shown.code == 0, shown.err
    one, other = (np.asarray(read_labels(place / name).array) for name in ("all-lora.png", "whole.png"))
    assert (one != other).mean() < 0.002
    other = run("adapt", "merge", place / "all" / "houlsby", "-o", place / "no")
    assert other.code == 1
    assert "Keep the adapter beside its base" in other.err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["compare", "--steps", "1", "data"], "DATA first"),
        (["compare", "data", "--method", "lara"], "Did you mean 'lora'"),
        (["compare", "data", "--method", "lora", "--wide"], "--wide"),
        (["merge", "data", "-o", "x"], "which is no adapter"),
    ],
)
def test_wrong_options_of_the_other_verbs(run, folder, place, options, reason, monkeypatch):
    monkeypatch.chdir(place)
    shown = run("adapt", *options)
    assert shown.code != 0
    assert reason in shown.err
    assert "Traceback" not in shown.err
