"""Graphs of ONNX on the runtimes that there are: ONNX Runtime, which always comes along, and OpenVINO.

On the CPUs measured, OpenVINO runs image encoders in the least time and memory, ONNX Runtime the small decoders.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import MissingExtraError, ResourceError, UnknownNameError, WeightsError
from samaritan.core.parallel import allowed_threads
from samaritan.models.device import require_device

RUNTIMES = ("auto", "onnxruntime", "openvino")
Arrays = Mapping[str, NDArray[Any]]


class Runner(NamedTuple):
    """What runs a network or a part of it: a package, and the device, as that package calls it."""

    package: str
    device: str


class Graph(Protocol):
    """A graph that is ready to run. It may be called by several threads."""

    @property
    def runner(self) -> Runner:
        """What runs it."""
        ...

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name; ``inputs`` by name too."""
        ...


def choose(runtime: str, device: str, *, heavy: bool) -> str:
    """Return the runtime to take: for "auto", OpenVINO for a ``heavy`` graph on a CPU if it is installed.

    Raises
    ------
    UnknownNameError
        If there is no such runtime or device.
    MissingExtraError
        If it is asked for and not installed.
    ResourceError
        If it does not run on the device: OpenVINO is used on the CPU only.
    """
    require_device(device)
    if runtime not in RUNTIMES:
        raise UnknownNameError.of(runtime, kind="runtime", known=RUNTIMES)
    there = find_spec("openvino") is not None
    if runtime == "auto":
        return "openvino" if heavy and there and _is_cpu(device) else "onnxruntime"
    if runtime == "openvino" and not there:
        raise MissingExtraError.of(what="runtime 'openvino'", extra="openvino")
    if runtime == "openvino" and device not in ("auto", "cpu"):
        raise ResourceError(
            got=f"device '{device}' for a model that OpenVINO runs",
            wanted="device auto or cpu",
            fix="Leave the device out, or export the model again with --runtime onnxruntime",
        )
    return runtime


def _is_cpu(device: str) -> bool:
    """Whether ONNX Runtime would run on the CPU: "auto" is a GPU where it has one."""
    from samaritan.models.onnx import onnx_providers  # noqa: PLC0415 - imports the runtime

    return device == "cpu" or (device == "auto" and len(onnx_providers(device)) == 1)


def open_graph(path: Path, runtime: str, *, device: str = "auto", threads: int = 0) -> Graph:
    """Return the graph in an ONNX file on a runtime that ``choose`` returned.

    Raises
    ------
    WeightsError
        If the runtime refuses the file.
    MissingExtraError
        If the runtime lacks the device.
    """
    return _OpenVino(path, threads) if runtime == "openvino" else _OnnxRuntime(path, device, threads)


class _OnnxRuntime:
    def __init__(self, path: Path, device: str, threads: int) -> None:
        from samaritan.models.onnx import open_session  # noqa: PLC0415 - imports the runtime

        self._session = open_session(path, device=device, threads=threads)
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def runner(self) -> Runner:
        return Runner("onnxruntime", self._session.get_providers()[0])

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        found = self._session.run(self._outputs, dict(inputs))
        return dict(zip(self._outputs, found, strict=True))


_MAKING_CORE = threading.Lock()


@functools.cache
def _make_core() -> Any:  # noqa: ANN401 - of an optional dependency
    import openvino  # noqa: PLC0415 - an optional dependency

    return openvino.Core()


def _core() -> Any:  # noqa: ANN401 - of an optional dependency
    """Return the process's one OpenVINO core, which is never given back.

    A core gives the thread that first uses it another stack for signals, and takes the memory of that stack away when
    it goes. If it goes in another thread, wherever the last model happens to be let go, the next signal (Ctrl-C, a
    child that ends) ends the process with a segmentation fault. Seen with OpenVINO 2026.4.1.
    """
    with _MAKING_CORE:  # the cache alone would let two threads make one each
        return _make_core()


class _OpenVino:
    """A compiled model, with a request for each thread that calls: a request serves one caller at a time."""

    def __init__(self, path: Path, threads: int) -> None:
        # In float32 throughout: left to itself, it computes in bfloat16 where the CPU has it, and masks change.
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads or allowed_threads():
            options["INFERENCE_NUM_THREADS"] = threads or allowed_threads()
        try:
            self._compiled = _core().compile_model(str(path), "CPU", options)
        except RuntimeError as error:
            raise WeightsError(
                got=f"OpenVINO refuses {path.name}: {str(error).strip().splitlines()[-1]}",
                fix="Export it again, or take the runtime 'onnxruntime'",
            ) from error
        # Several names each: where OpenVINO leaves out a step that changes nothing, its name goes to the one before.
        self._outputs = [output.get_names() for output in self._compiled.outputs]
        self._local = threading.local()

    @property
    def runner(self) -> Runner:
        return Runner("openvino", "CPU")

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        found = self._local.request.infer(dict(inputs), share_inputs=True)
        # Copies: the request's own arrays are written over by its next run.
        arrays = [np.array(found[number]) for number in range(len(self._outputs))]
        return {name: array for names, array in zip(self._outputs, arrays, strict=True) for name in names}
