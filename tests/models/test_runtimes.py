"""What the runtimes do to the process that they run in."""

import subprocess
import sys

import numpy as np
import pytest

from samaritan.models.runtimes import open_graph

onnx = pytest.importorskip("onnx")

# A signal whose handler is Python's arrives on the thread's stack for signals, as Ctrl-C does: without one, it kills.
SCRIPT = """
import gc, signal, sys, threading
from pathlib import Path
from samaritan.models.runtimes import open_graph

arrived, held = [], [open_graph(Path(sys.argv[1]), "openvino", device="cpu")]

def let_go():
    held.clear()
    gc.collect()

thread = threading.Thread(target=let_go)
thread.start()
thread.join()
signal.signal(signal.SIGUSR1, lambda *_: arrived.append(1))
signal.raise_signal(signal.SIGUSR1)
print(len(arrived))
"""


def write(path, nodes, **constants):
    """Write a graph from ``x`` to ``y``, both (1, 3), and return its path."""
    value = onnx.helper.make_tensor_value_info
    shape = (onnx.TensorProto.FLOAT, [1, 3])
    held = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = onnx.helper.make_graph(nodes, "graph", [value("x", *shape)], [value("y", *shape)], held)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_outputs_keep_their_names_where_the_last_step_changes_nothing(runtime, tmp_path):
    pytest.importorskip(runtime)
    nodes = [onnx.helper.make_node("Relu", ["x"], ["a"]), onnx.helper.make_node("Add", ["a", "zero"], ["y"])]
    path = write(tmp_path / "graph.onnx", nodes, zero=np.zeros((1, 3), np.float32))
    found = open_graph(path, runtime, device="cpu").run({"x": np.array([[-1, 0, 2]], np.float32)})
    np.testing.assert_array_equal(found["y"], [[0, 0, 2]])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no stack for signals")
def test_signals_arrive_after_another_thread_lets_a_model_go(tmp_path):
    pytest.importorskip("openvino")
    path = write(tmp_path / "relu.onnx", [onnx.helper.make_node("Relu", ["x"], ["y"])])
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr
