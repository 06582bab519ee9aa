import signal

import pytest
from tests.cli.helpers import left_behind, started

# The program with a model that takes its time to be written as graphs; without PyTorch, which takes its time to import.
SLOW = """
import sys, time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from samaritan.cli import export as verb
from samaritan.models import export as exporting
from samaritan.testing.fake_model import FakeModel

def write_graphs(network, side, folder):
    (folder / "encoder.onnx").touch()
    Path("writing").touch()
    time.sleep(30)

verb._loaded = lambda *_: FakeModel()
exporting.exportable = lambda model: (SimpleNamespace(frame=SimpleNamespace(side=64)), None)
sys.modules["samaritan.models.graphs"] = ModuleType("graphs")
sys.modules["samaritan.models.graphs"].write_graphs = write_graphs
from samaritan.cli import main
main(sys.argv[1:])
"""


def test_eight_bits_need_images(run, tmp_path):
    done = run("export", "sam-vit-b", "-o", "out", "--int8")
    assert done.code == 2
    assert "without images" in done.err
    assert "--image FILE" in done.err


def test_what_cannot_be_exported_says_why_and_leaves_nothing(run, tmp_path):
    done = run("export", "tiny", "-o", "out")
    assert done.code == 1
    assert "ONNX already" in done.err
    assert "Traceback" not in done.err
    assert left_behind(tmp_path) == []


def test_a_checkpoint_that_is_not_here_says_how_to_get_it(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMARITAN_MODELS", str(tmp_path / "models"))
    done = run("export", "mobile-sam", "-o", "out")
    assert done.code == 1
    assert "samaritan models pull mobile-sam" in done.err


@pytest.mark.parametrize("output", ["mine", "mine/out", "."])
def test_a_place_that_is_taken_is_refused_before_anything_is_read(run, tmp_path, output):
    (tmp_path / "mine").touch()
    done = run("export", "nothing.pth", "-o", output)
    assert done.code == 1
    assert "Wanted a new or an empty folder" in done.err
    assert left_behind(tmp_path) == ["mine"]


def test_an_unknown_runtime_is_refused_before_anything_is_read(run):
    done = run("export", "nothing.pth", "-o", "out", "--runtime", "tensorrt")
    assert done.code == 2
    assert "unknown runtime 'tensorrt'" in done.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("there", [False, True])
def test_an_export_that_is_stopped_leaves_nothing(place, number, code, there):
    if there:
        (place / "out").mkdir()
    process = started(SLOW, "export", "any", "-o", "out" if there else "new/out", until=place / "writing")
    assert any(place.rglob(".samaritan-*/**/encoder.onnx"))
    process.send_signal(number)
    process.communicate(timeout=10)
    assert process.returncode == code
    assert {path.name for path in place.rglob("*")} == ({"writing", "out"} if there else {"writing"})
