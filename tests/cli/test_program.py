"""The program as a person runs it: a process of its own, with the default model."""

import resource
import signal

import pytest
from tests.cli.helpers import left_behind, samaritan, started

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


def test_the_package_runs_as_the_program_does():
    script = (
        "import runpy, sys; sys.argv = ['samaritan', '--version']; runpy.run_module('samaritan', run_name='__main__')"
    )
    done = samaritan(script=script)
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
    words = ("segment", path, "--box", LIVER, "--model", "slow", "-o", "m.nii.gz")
    process = started(SLOW, *words, until=place / "decoding")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert err.strip() == "interrupted"
    assert left_behind(place) == ["ct.nii.gz", "decoding"]


# The program that waits with a mask half-written.
WRITING = """
import sys, time
from pathlib import Path
from samaritan.io import atomic

def wait(folder):
    Path("writing").touch()
    time.sleep(30)

atomic._flush = wait
from samaritan.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("times", [1, 2])  # `timeout` sends it twice
def test_sigterm_cleans_up_as_ctrl_c_does(ct, place, times):
    process = started(WRITING, "convert", "ct.nii.gz", "copy.nii.gz", until=place / "writing")
    assert list(place.glob(".samaritan-*"))
    for _ in range(times):
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (143, "terminated\n")
    assert sorted(path.name for path in place.iterdir()) == ["ct.nii.gz", "writing"]


def test_who_ignores_sigterm_goes_on_to_do_so(ct, place):
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    process = started(
        ignore + WRITING.replace("30", ".5"), "convert", "ct.nii.gz", "copy.nii.gz", until=place / "writing"
    )
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 0
    assert (place / "copy.nii.gz").exists()


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
