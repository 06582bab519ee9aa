"""What is in a file, said without running any of it."""

import pytest
import torch
from tests.models.toys import Toy, publish, use_toys

from samaritan.core.errors import ReadError
from samaritan.models import checkpoint
from samaritan.models.inspection import inspect


@pytest.fixture
def toys(monkeypatch, tmp_path):
    use_toys(monkeypatch, tmp_path)
    publish("toy")
    return tmp_path


def test_a_file_is_hashed_once(toys, monkeypatch):
    torch.save(Toy(4).state_dict(), toys / "mine.pth")
    hashed, sha256_of = [], checkpoint.sha256_of
    monkeypatch.setattr(checkpoint, "sha256_of", lambda path: hashed.append(path) or sha256_of(path))
    found = inspect(toys / "mine.pth")
    assert found.recognised.difference.none
    assert hashed == [toys / "mine.pth"]
    assert found.sha256 == sha256_of(toys / "mine.pth")


def test_what_cannot_be_used_is_described_all_the_same(toys):
    state = Toy(4).state_dict()
    torch.save({**state, "last.bias": torch.tensor([float("inf")])}, toys / "mine.pth")
    found = inspect(toys / "mine.pth")
    assert (found.tensors, found.recognised.variant) == (len(state), "toy")
    assert "tensor last.bias in mine.pth has values that are infinite" in str(found.trouble)
    assert found.to_dict()["error"]["code"] == "weights"


def test_a_folder_is_no_file(toys):
    with pytest.raises(ReadError, match="is a folder"):
        inspect(toys)


def test_what_a_graph_calls_its_inputs_is_escaped(toys):
    onnx = pytest.importorskip("onnx")
    tensor = onnx.helper.make_tensor_value_info
    name, side = "in\x1b[2J", "side\r"
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", [name], ["out"])],
        "graph",
        [tensor(name, 1, [side])],
        [tensor("out", 1, None)],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), toys / "graph.onnx")
    assert inspect(toys / "graph.onnx").inputs == {r"in\x1b[2J": ["tensor(float)", [r"side\r"]]}
