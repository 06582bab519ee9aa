"""Export a run's averaged weights: an ONNX graph, to run, and a safetensors file, to train on.

`python -m training.tiny.export --weights runs/tiny/calibrated.safetensors --out src/samaritan/models/tiny/weights`

Large weights are stored as float16 and computed with as float32 (ONNX Runtime folds the casts when it loads a graph),
which halves the files. The graph keeps its batch norms, which ONNX Runtime folds likewise: folded before the
rounding, the weights would be rounded to others than those of the safetensors file. The export fails unless the graph
and the safetensors file, both read back, give the same masks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn

from samaritan.models.tiny.adapter import GRAPH_FILE
from samaritan.models.tiny.network import NETWORK_FILE, TinyNetwork, load_network
from samaritan.models.tiny.prompt_maps import CHANNELS, render
from training.arguments import run_script, weights_file
from training.tiny.checkpoint import read_network

OPSET = 17
SIDE = 512
TOLERANCE = 1e-3  # in IoU and probability, between PyTorch on the rounded weights and ONNX Runtime
HALF_FROM = 256  # elements from which a weight is stored as float16


def export(network: TinyNetwork, folder: Path) -> dict[str, Any]:
    """Write the graph, `network.safetensors` and `manifest.json` to `folder`; return the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_halved(network.state_dict()), folder / NETWORK_FILE)
    network = load_network(folder / NETWORK_FILE, network.design).eval()
    maps = torch.from_numpy(_example_prompts())
    image = torch.rand(len(maps), 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 255
    _write(network, (image, maps), folder / GRAPH_FILE, ["image", "prompt_maps"], ["logits", "iou"], {
        "image": {0: "n", 2: "height", 3: "width"}, "prompt_maps": {0: "n", 2: "height/4", 3: "width/4"},
        "logits": {0: "n", 2: "height/2", 3: "width/2"}, "iou": {0: "n"},
    })  # fmt: skip
    manifest: dict[str, Any] = {"prompt_channels": CHANNELS, "files": {}}
    for name in (GRAPH_FILE, NETWORK_FILE):
        content = (folder / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    manifest["largest_difference"] = largest_difference(network, folder, image, maps)
    if manifest["largest_difference"] > TOLERANCE:
        message = f"ONNX Runtime and PyTorch differ by {manifest['largest_difference']:.2e}, more than {TOLERANCE}"
        raise RuntimeError(message)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def largest_difference(network: TinyNetwork, folder: Path, image: Tensor, maps: Tensor) -> float:
    """Largest difference in probability or IoU between the exported graph and `network`."""
    with torch.no_grad():
        wanted = network(image, maps)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / GRAPH_FILE, options, providers=["CPUExecutionProvider"])
    logits, iou = session.run(None, {"image": image.numpy(), "prompt_maps": maps.numpy()})
    probability = torch.sigmoid(torch.from_numpy(logits)) - torch.sigmoid(wanted.logits)
    return float(max(probability.abs().max(), np.abs(iou - wanted.predicted_iou.numpy()).max()))


def _halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state with large weights as float16; norms, whose statistics span magnitudes, stay as they are."""
    return {name: (v.half() if _is_large(v) else v).contiguous() for name, v in state.items()}


def _is_large(weight: Tensor) -> bool:
    return weight.is_floating_point() and weight.ndim > 1 and weight.numel() >= HALF_FROM


def _example_prompts() -> NDArray[np.float32]:
    boxed = render((SIDE, SIDE), box=np.array([100, 120, 300, 380], np.float32))
    clicked = render((SIDE, SIDE), points=np.array([[200, 260]], np.float32), positive=np.array([True]))
    return np.stack([boxed, clicked])


def _write(
    module: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    dynamic: dict[str, dict[int, str]],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own age and of shapes that are dynamic here
        torch.onnx.export(
            module, example, str(path), input_names=inputs, output_names=outputs, dynamic_axes=dynamic,
            opset_version=OPSET, dynamo=False, training=torch.onnx.TrainingMode.PRESERVE,
        )  # fmt: skip
    model = onnx.load(path)
    _store_as_half(model.graph)
    model.producer_name, model.producer_version = "samaritan", ""
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _store_as_half(graph: onnx.GraphProto) -> None:
    casts = []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.ndim < 2 or values.size < HALF_FROM:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT, name=f"{name}.cast"))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=weights_file, required=True, help="checkpoint.pt of a run, or a .safetensors")
    parser.add_argument("--out", type=Path, required=True, help="folder for the graph and the safetensors file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(export(read_network(options.weights), options.out), indent=2))


if __name__ == "__main__":
    run_script(main)
