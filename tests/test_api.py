"""The public names, and what importing them costs."""

import subprocess
import sys

import pytest

import samaritan

PUBLIC = {
    "Box", "Embedding", "Geometry", "Image", "LabelMap", "Lasso", "MaskPrompt", "Model", "ModelCard", "Point",
    "Prediction", "Prompts", "SamaritanError", "Scribble", "Segmentation", "Session", "Text", "__version__",
    "load_model", "model_card", "read", "read_labels", "segment", "write",
}  # fmt: skip


def test_the_public_names_are_these():
    assert set(samaritan.__all__) == PUBLIC
    assert set(dir(samaritan)) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_name_leads_to_something_documented(name):
    assert getattr(samaritan, name).__doc__


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = samaritan.nothing


def test_import_is_quick_and_pulls_in_nothing_heavy():
    script = """
import time
start = time.perf_counter()
import samaritan
spent = time.perf_counter() - start
import sys
print(spent, sorted({"torch", "numpy", "onnxruntime", "SimpleITK", "scipy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    spent, _, heavy = done.stdout.strip().partition(" ")
    assert heavy == "[]"
    assert float(spent) < 0.3


def test_segmenting_needs_no_torch():
    script = """
import sys
import samaritan
samaritan.read, samaritan.write, samaritan.segment, samaritan.Session, samaritan.load_model()
print(sorted({"torch", "ray", "transformers"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
