"""The program as a person runs it: a process of its own, with the default model."""

import resource
import signal
import subprocess
import sys
import time

import pytest
from tests.cli.helpers import left_behind, samaritan

import samaritan as package
from samaritan.io import read_labels

LIVER = "6,5,2:29,24,16"

# The program with a fake model that tells when it is at work, and takes its time.
SLOW = """
import sys, time
from pathlib import Path
from samaritan.models import MODELS
from samaritan.models.registry import ModelEntry
from samaritan.testing.fake_model import CARD, FakeModel

class Slow(FakeModel):
    def decode(self, *args):
        Path("decoding").touch()
        time.sleep(30)

MODELS.register("slow", "nowhere:needed")
MODELS._loaded["slow"] = ModelEntry(card=lambda: CARD, load=lambda device: Slow())
from samaritan.cli import main
main(sys.argv[1:])
"""


def test_version():
    done = samaritan("--version")
    assert (done.code, done.out) == (0, f"samaritan {package.__version__}\n")


def test_help_names_every_verb_and_imports_nothing_heavy():
    script = """
import sys
from samaritan.cli import main
try:
    main(["--help"])
finally:
    print(sorted({"numpy", "torch", "onnxruntime", "SimpleITK"} & set(sys.modules)), file=sys.stderr)
"""
    done = samaritan(script=script)
    assert done.code == 0
    assert done.err.strip() == "[]"
    for verb in ("segment", "info", "convert", "models", "cache", "demo"):
        assert f"  {verb}" in done.out


def test_a_scan_is_segmented_by_the_default_model(ct):
    path, phantom = ct
    done = samaritan("segment", path, "--point", "17,14", "--slice", "8", "-o", "liver.nii.gz", "--overlay", "o.png")
    assert (done.code, done.err) == (0, "")
    assert read_labels("liver.nii.gz").geometry.matches(phantom.image.geometry)


def test_an_error_is_a_sentence_on_stderr():
    done = samaritan("segment", "none.nii.gz", "--point", "1,2,3")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: no file none.nii.gz")


def test_ctrl_c_ends_it_and_leaves_nothing_half_written(ct, place):
    path, _ = ct
    command = [sys.executable, "-c", SLOW, "segment", str(path), "--box", LIVER, "--model", "slow", "-o", "m.nii.gz"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (place / "decoding").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert err.strip() == "interrupted"
    assert left_behind(place) == ["ct.nii.gz", "decoding"]


def test_a_limit_on_file_size_leaves_nothing_half_written(ct, place):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    path, _ = ct
    done = samaritan("convert", path, "copy.nii", preexec_fn=limit)
    assert done.code == 1
    assert "error: cannot write copy.nii" in done.err
    assert left_behind(place) == ["ct.nii.gz"]


def test_a_folder_without_permission_is_found_out_before_the_work(ct, place):
    locked = place / "locked"
    locked.mkdir(mode=0o500)
    if not _refused(locked):
        pytest.skip("this user may write everywhere")
    done = samaritan("segment", ct[0], "--box", LIVER, "-o", "locked/m.nii.gz")
    assert done.code == 1
    assert "no permission" in done.err


def _refused(folder):
    try:
        (folder / "probe").touch()
    except PermissionError:
        return True
    return False
