import subprocess
import sys
from pathlib import Path

import pytest

from samaritan.core.errors import MissingExtraError, UnknownNameError
from samaritan.models import DEFAULT_MODEL, MODELS, load_model, model_card
from samaritan.models.onnx import onnx_providers


def test_the_default_model_is_registered():
    assert DEFAULT_MODEL in MODELS
    assert model_card() == model_card(DEFAULT_MODEL)


def test_an_unknown_model_is_refused_with_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'tiny'"):
        load_model("tinny")
    with pytest.raises(UnknownNameError, match="unknown model"):
        model_card("medsan")


@pytest.mark.parametrize("name", [None, "tiny", "other.pth", "folder/of/a/bundle"])
def test_weights_in_place_of_what_has_none_are_refused(name):
    with pytest.raises(UnknownNameError, match=rf"of those of {name or 'tiny'}\..*leave that out: --model mine\.pth"):
        load_model(name, weights=Path("mine.pth"), device="cpu")


def test_weights_for_an_unknown_model_are_refused_with_a_suggestion():
    with pytest.raises(UnknownNameError, match=r"unknown model 'medsan'.*Did you mean 'medsam'"):
        load_model("medsan", weights=Path("mine.pth"), device="cpu")


def test_an_unknown_device_is_refused():
    with pytest.raises(UnknownNameError, match="unknown device 'gpu'"):
        load_model(device="gpu")


def test_a_device_that_the_runtime_lacks_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(MissingExtraError, match=r"Wanted one of: cpu\. pip install onnxruntime-gpu"):
        load_model(device="cuda")
    with pytest.raises(MissingExtraError, match="CoreML"):
        load_model(device="mps")


@pytest.mark.parametrize(
    ("device", "wanted"),
    [
        ("cpu", ["CPUExecutionProvider"]),
        ("auto", ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        ("cuda", ["CUDAExecutionProvider", "CPUExecutionProvider"]),
    ],
)
def test_the_best_provider_comes_first(monkeypatch, device, wanted):
    have = ["AzureExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: have)
    assert onnx_providers(device) == wanted


def test_auto_falls_back_to_the_cpu(monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    assert onnx_providers("auto") == ["CPUExecutionProvider"]


def test_a_card_is_read_without_the_runtime_and_torch():
    program = """
import sys
from samaritan.models import MODELS, model_card
assert [model_card(name).name for name in MODELS] == list(MODELS)
assert not {"onnxruntime", "torch"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
