"""What the runtimes do to the process that they run in."""

import subprocess
import sys

import pytest

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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no stack for signals")
def test_signals_arrive_after_another_thread_lets_a_model_go(tmp_path):
    pytest.importorskip("openvino")
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    shape = (onnx.TensorProto.FLOAT, [1, 3])
    graph = onnx.helper.make_graph([node], "relu", [value("x", *shape)], [value("y", *shape)])
    path = tmp_path / "relu.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr
