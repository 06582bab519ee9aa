"""Scans of several sequences on the command line: files, rules, what is missing, and what is said of it."""

import json
import shlex
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.cli.helpers import left_behind

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.io import read_labels, write

pytestmark = pytest.mark.filterwarnings("default::samaritan.infer.channels.MissingChannelWarning")

GRID = Geometry.from_spacing((40, 36, 4), (1, 1, 3))
I, J = np.mgrid[:40, :36]
LESION = np.repeat(((I - 22) ** 2 + (J - 16) ** 2 <= 60)[..., None], 4, axis=2)
CLICK = ("--point", "22,16,2")
FILES = {"t1": (600, 0), "t2": (300, 120), "flair": (5, 3)}  # values of tissue, and how much brighter the lesion is


def values(name):
    tissue, brighter = FILES[name]
    noise = np.random.default_rng(len(name)).normal(1, 0.02, GRID.shape)
    return ((tissue + brighter * LESION) * noise).astype(np.float32)


def dice(mask):
    return 2 * np.count_nonzero(mask & LESION) / (np.count_nonzero(mask) + np.count_nonzero(LESION))


@pytest.fixture
def mr(place):
    """Sequences of a scan, one file each, and all of them along a fourth axis of one more."""
    for name in FILES:
        write(Image(values(name)[None], GRID), place / f"{name}.nii.gz")
    four = np.stack([values(name) for name in FILES], axis=-1)
    nibabel.save(nibabel.Nifti1Image(four, GRID.affine), place / "mr.nii.gz")


def report_of(done):
    assert done.code == 0, done.err
    return json.loads(done.out)


ADDED = ("--add-channel", "t2.nii.gz", "--add-channel", "FLAIR=flair.nii.gz")


@pytest.mark.parametrize("rule", ["average", "each", "each:t2,flair", "FLAIR", "first:pd,t2", "1"])
def test_files_are_channels_of_one_case(run, mr, rule):
    done = run("segment", "t1.nii.gz", *ADDED, "--channels", rule, *CLICK, "--json", "-o", "out.nii.gz")
    assert dice(read_labels("out.nii.gz").array > 0) > 0.95
    report = report_of(done)
    assert report["image"] == "t1.nii.gz, t2.nii.gz, flair.nii.gz"
    used = {"average": ["t1", "t2", "FLAIR"], "each": ["t1", "t2", "FLAIR"], "each:t2,flair": ["t2", "FLAIR"]}
    assert report["channels"]["used"] == used.get(rule, ["FLAIR"] if rule == "FLAIR" else ["t2"])
    assert report["channels"]["missing"] == (["pd"] if "pd" in rule else [])
    assert bool(done.err) == ("pd" in rule)


def test_a_fourth_axis_is_channels_where_a_rule_says_so(run, mr):
    refused = run("segment", "mr.nii.gz", *CLICK)
    assert refused.code == 1
    assert "segment --channels average" in refused.err
    report = report_of(run("segment", "mr.nii.gz", "--channels", "average", *CLICK, "--json", "-o", "out.nii.gz"))
    assert report["channels"] == {
        "rule": "average",
        "used": ["channel 0", "channel 1", "channel 2"],
        "missing": [],
    }
    assert dice(read_labels("out.nii.gz").array > 0) > 0.95
    report = report_of(run("segment", "mr.nii.gz", "--select", "2", *CLICK, "--json"))
    assert report["channels"] == {"rule": "first", "used": ["intensity"], "missing": []}


def test_a_missing_channel_is_left_out_and_said(run, mr):
    write(Image(np.zeros((1, *GRID.shape), np.float32), GRID), "t1.nii.gz")
    done = run("segment", "t1.nii.gz", *ADDED, "--channels", "each", *CLICK, "--overlay", "o.png", "-o", "out.nii.gz")
    assert done.code == 0
    assert done.err == "warning: channels left out, because missing or empty: t1; used: t2, FLAIR\n"
    kept = json.loads(Path("out.report.json").read_text())
    assert kept["channels"] == {"rule": "each", "used": ["t2", "FLAIR"], "missing": ["t1"]}
    assert dice(read_labels("out.nii.gz").array > 0) > 0.95


def test_a_dry_run_counts_every_channel(run, mr):
    say = ("segment", "mr.nii.gz", *CLICK, "--dry-run", "--json", "--channels")
    one, three = (report_of(run(*say, rule)) for rule in ("1", "each"))
    assert three["disk_bytes"] == 3 * one["disk_bytes"]
    assert left_behind(Path()) == ["flair.nii.gz", "mr.nii.gz", "t1.nii.gz", "t2.nii.gz"]


def test_without_a_prompt_the_line_reads_the_channels(run, mr):
    for options in (["mr.nii.gz", "--channels", "each"], ["t1.nii.gz", *ADDED, "--channels", "each:t2,FLAIR"]):
        done = run("segment", *options)
        (line,) = [line for line in done.err.splitlines() if line.startswith("  samaritan segment")]
        assert run(*shlex.split(line)[1:]).code == 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--add-channel", "t2.nii.gz"], 2, "Add --channels average"),
        (["--channels", "averag"], 2, "Did you mean 'average'"),
        (["--channels", "average:"], 2, "average:t1,flair"),
        ([*ADDED, "--channels", "t22"], 2, "Did you mean 't2'"),
        ([*ADDED, "--channels", "7"], 2, "one of: FLAIR, average, each, first, t1, t2"),
        (["--add-channel", "t1=t2.nii.gz", "--channels", "each"], 2, "there is a channel called 't1'"),
        (["--add-channel", "=t2.nii.gz", "--channels", "each"], 2, "no name"),
        (["--add-channel", "t2=gone.nii.gz", "--channels", "each"], 1, "no file gone.nii.gz"),
        (["--add-channel", "other.nii.gz", "--channels", "each"], 1, "Resample it"),
        (["--add-channel", "zeros.nii.gz", "--channels", "zeros"], 1, "as in t1"),
        (["--add-channel", "mr.nii.gz", "--channels", "each"], 1, "mr.nii.gz holds 3 volumes"),
        ([*ADDED, "--channels", "each", "-o", "flair.nii.gz"], 2, "the input is never written to"),
    ],
)
def test_mistakes(run, mr, other_grid, options, code, message):
    write(Image(np.zeros((1, *GRID.shape), np.float32), GRID), "zeros.nii.gz")
    done = run("segment", "t1.nii.gz", *CLICK, *options)
    assert message in done.err
    assert done.code == code
    assert left_behind(Path()) == sorted([*(f"{n}.nii.gz" for n in ("flair", "mr", "other", "t1", "t2", "zeros"))])
