import json
import platform
from dataclasses import asdict
from datetime import UTC, datetime

import onnxruntime
import pytest

import samaritan
from samaritan.models import made_with
from samaritan.models.made_with import MadeWith
from samaritan.models.runtimes import Runner

CPU_INFO = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: A CPU: 3 GHz\n\nprocessor\t: 1\nmodel name\t: Another\n"


def test_versions_are_those_of_what_ran_the_models_and_no_others():
    onnx, numpy = Runner("onnxruntime", "CPUExecutionProvider"), Runner("numpy", "cpu")
    made = MadeWith.now(before={"encoder": numpy}, after={"encoder": onnx, "decoder": onnx})
    assert made.versions.keys() == {"samaritan", "python", "numpy", "onnxruntime"}
    assert (made.versions["samaritan"], made.versions["onnxruntime"]) == (
        samaritan.__version__,
        onnxruntime.__version__,
    )
    assert made.runtimes["before"] == {"encoder": "numpy on cpu"}
    assert made.runtimes["after"] == dict.fromkeys(("encoder", "decoder"), "onnxruntime on CPUExecutionProvider")
    assert json.dumps(asdict(made))


def test_the_date_is_in_utc_to_the_second():
    date = datetime.fromisoformat(MadeWith.now().date)
    assert date.utcoffset().total_seconds() == 0
    assert abs((datetime.now(UTC) - date).total_seconds()) < 60


@pytest.mark.parametrize(
    ("told", "own", "wanted"),
    [(CPU_INFO, "x86_64", "A CPU: 3 GHz"), ("processor: 0\n", "arm", "arm"), (None, "arm", "arm"), (None, "", "m1")],
)
def test_the_processor_has_the_name_that_the_system_tells(tmp_path, monkeypatch, told, own, wanted):
    if told is not None:
        (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(made_with, "_CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "processor", lambda: own)
    monkeypatch.setattr(platform, "machine", lambda: "m1")
    assert MadeWith.now().processor == wanted
