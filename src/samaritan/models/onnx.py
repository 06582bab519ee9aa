"""ONNX graphs on ONNX Runtime: which device, checked weights, made when first needed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from samaritan.core.errors import MissingExtraError, WeightsError
from samaritan.core.parallel import allowed_threads
from samaritan.models.card import read_weights
from samaritan.models.device import require_device

# Device -> ONNX Runtime's execution provider, and the package that has it.
_PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "mps": ("CoreMLExecutionProvider", "onnxruntime"),
}
_ERRORS_ONLY = 3


def onnx_providers(device: str) -> list[str]:
    """Return ONNX Runtime's execution providers for ``device``, preferred first; the CPU always comes last.

    "auto" takes CUDA where the installed runtime has it, else the CPU.

    Raises
    ------
    UnknownNameError
        If there is no such device.
    MissingExtraError
        If the installed ONNX Runtime has no provider for it.
    """
    require_device(device)
    available = onnxruntime.get_available_providers()
    provider, package = _PROVIDERS["cuda" if device == "auto" else device]
    cpu, _ = _PROVIDERS["cpu"]
    if provider in available:
        return list(dict.fromkeys([provider, cpu]))
    if device == "auto":
        return [cpu]
    raise MissingExtraError(
        got=f"device '{device}', but the installed ONNX Runtime has no {provider}",
        wanted=f"one of: {', '.join(name for name, (needed, _) in _PROVIDERS.items() if needed in available)}",
        fix=f"pip install {package} (in place of any other onnxruntime), or use device 'cpu'",
    )


class OnnxGraph:
    """One ONNX graph: weights checked against the card and session made at the first ``run``, by whichever thread.

    Parameters
    ----------
    card
        Card file that lists the SHA-256 of ``weights``.
    weights
        The ONNX file.
    device
        One of ``device.DEVICES``.
    threads
        Threads that one ``run`` may use; 0 leaves it to the runtime: one for each physical core.
    """

    def __init__(self, card: Path, weights: Path, *, device: str, threads: int) -> None:
        self._card, self._weights, self._threads = card, weights, threads
        self._providers = onnx_providers(device)
        self._lock = threading.Lock()
        self._session: Any = None  # onnxruntime has no types

    def run(self, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name; ``inputs`` by name too.

        Raises
        ------
        WeightsError
            At the first call, if the file is missing or is not the one on the card (``ChecksumError``).
        """
        session = self._loaded()
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))

    def _loaded(self) -> Any:  # noqa: ANN401 - onnxruntime has no types
        with self._lock:
            if self._session is None:
                content = read_weights(self._card, self._weights)
                self._session = _session(content, self._providers, self._threads)
            return self._session


def open_session(path: Path, *, device: str, threads: int) -> Any:  # noqa: ANN401 - as above
    """Return ONNX Runtime's session of a graph that is read from its file, and from those beside it that it names.

    Raises
    ------
    WeightsError
        If it is no graph that this ONNX Runtime takes.
    MissingExtraError
        If ONNX Runtime lacks the device.
    """
    providers = onnx_providers(device)
    try:
        return _session(str(path), providers, threads)
    except Exception as error:  # its errors have no class in common
        raise WeightsError(
            got=f"ONNX Runtime {onnxruntime.__version__} refuses {path.name}: {str(error).splitlines()[0]}",
            fix="Export or copy it again, or install a newer onnxruntime",
        ) from error


def _session(graph: str | bytes, providers: list[str], threads: int) -> Any:  # noqa: ANN401 - as above
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or allowed_threads()
    options.log_severity_level = _ERRORS_ONLY
    return onnxruntime.InferenceSession(graph, options, providers=providers)
