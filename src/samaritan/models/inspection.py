"""``samaritan models inspect``: what is in a checkpoint file, and which model it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samaritan.core.errors import SamaritanError, WeightsError
from samaritan.models.checkpoint import Checkpoint, CheckpointFile
from samaritan.models.family import Recognised, mismatch, recognise, unusable
from samaritan.models.printable import printable
from samaritan.models.published import others_of, published_as

_ONNX = 0x08  # the tag of a graph's first field, its version


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What is known of a file.

    Parameters
    ----------
    path, nbytes, sha256
        Of the file.
    form
        "safetensors", "PyTorch (zip)", "PyTorch (before 1.6)", "ONNX", or "unknown".
    published
        Names of the published models that it is, by its SHA-256.
    tensors, parameters, dtypes
        Numbers: of tensors, of values in all, and of tensors by their type.
    left_out
        Names of tensors beside the network's, which are not used.
    recognised
        What its tensors are most like, and how they differ; None if they are like nothing that is known.
    others
        Names of published models that have exactly its tensors as well: which it is, only who made it knows.
    inputs, outputs
        Of a graph: shapes by name; a side that may be any has a name or None.
    trouble
        Why it cannot be used: it is damaged, unsafe, of no known model, or something is not installed.
    """

    path: Path
    nbytes: int
    sha256: str
    form: str
    published: tuple[str, ...]
    tensors: int = 0
    parameters: int = 0
    dtypes: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    recognised: Recognised | None = None
    others: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    trouble: SamaritanError | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON: all names of tensors that differ, where few were told to people."""
        found = self.recognised
        return {
            "path": str(self.path),
            "bytes": self.nbytes,
            "sha256": self.sha256,
            "form": self.form,
            "published": list(self.published),
            "tensors": self.tensors,
            "parameters": self.parameters,
            "dtypes": dict(self.dtypes),
            "left_out": list(self.left_out),
            "nearest": found
            and {
                "family": found.family,
                "variant": found.variant,
                "exact": found.difference.none,
                "for_planes": found.for_planes,
                "likeness": round(found.difference.likeness, 4),
                "missing": list(found.difference.missing),
                "unexpected": list(found.difference.unexpected),
                "reshaped": list(found.difference.reshaped),
                "renamed": found.difference.renamed,
            },
            "others": list(self.others),
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
            "error": self.trouble and self.trouble.to_dict(),
        }


def inspect(path: Path) -> Inspection:
    """Return what is known of a file. That it cannot be read as weights is an answer too: see ``Inspection.trouble``.

    Nothing in it is run.

    Raises
    ------
    ReadError
        If it cannot be opened, or is no file.
    ResourceError
        If it is larger than ``MAX_BYTES``.
    """
    file = CheckpointFile.at(path)
    graph = file.head[:1] == bytes((_ONNX,)) and file.form == "unknown"
    known: dict[str, Any] = {
        "path": path,
        "nbytes": file.nbytes,
        "sha256": file.sha256,
        "form": "ONNX" if graph else file.form,
        "published": tuple(published_as(file.sha256)),
    }
    try:
        more = _of_graph(path) if graph else _of_checkpoint(file.read())
    except SamaritanError as error:
        return Inspection(**known, trouble=error)
    return Inspection(**known, **more)


def _of_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    tensors = checkpoint.tensors.values()
    found = recognise(checkpoint)
    return {
        "tensors": len(tensors),
        "parameters": sum(tensor.numel() for tensor in tensors),
        "dtypes": dict(Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors).most_common()),
        "left_out": checkpoint.left_out,
        "recognised": found if found.difference.alike else None,
        "others": tuple(others_of(found.variant, for_planes=found.for_planes)) if found.difference.none else (),
        "trouble": unusable(checkpoint, found.family, found.variant)
        if found.difference.none
        else mismatch(checkpoint, found.variant, found.difference),
    }


def _of_graph(path: Path) -> dict[str, Any]:
    import onnxruntime  # noqa: PLC0415 - few files are graphs

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # it is only looked at
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common
        raise WeightsError(
            got=f"ONNX Runtime {onnxruntime.__version__} refuses {path.name}: {printable(str(error).splitlines()[0])}",
            fix="Export or copy it again, with the files beside it that hold its weights",
        ) from error
    return {"inputs": _of_nodes(session.get_inputs()), "outputs": _of_nodes(session.get_outputs())}


def _of_nodes(nodes: Iterable[Any]) -> dict[str, Any]:
    return {
        printable(node.name): [node.type, [printable(side) if isinstance(side, str) else side for side in node.shape]]
        for node in nodes
    }
