"""Bundles: a model as a folder of ONNX graphs and a card, run without PyTorch.

``samaritan export`` writes them. ``card.toml`` is a model's card with a table more::

    [bundle]
    version = 2
    mask_side = 256
    pads_boxes = false
    features = { embedding = [1, 256, 64, 64] }     # the encoder's outputs: names and shapes
    frame = { side = 1024, fit = "pad", ... }       # FrameSpec's fields
    runtime = "auto"

    [files]                                         # SHA-256 of the graphs and of what lies beside them
    "encoder.onnx" = "..."
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from samaritan.core.errors import ChecksumError, WeightsError
from samaritan.core.model import ModelCard
from samaritan.models.card import load_card, read_card
from samaritan.models.checkpoint import sha256_of
from samaritan.models.planar import FrameSpec, PlanarModel
from samaritan.models.planar.graph_network import GraphNetwork
from samaritan.models.planar.network import DecoderSpec
from samaritan.models.printable import printable
from samaritan.models.runtimes import choose, open_graph

VERSION = 2
CARD, ENCODER, DECODER, CERTIFICATE = "card.toml", "encoder.onnx", "decoder.onnx", "parity.json"
_BUNDLE = "bundle"
_KEPT = frozenset({"version", "mask_side", "pads_boxes", "features", "frame", "runtime"})


def is_bundle(path: Path) -> bool:
    """Whether a path is the folder of a bundle."""
    return (path / CARD).is_file()


def load_bundle(folder: Path, *, runtime: str | None = None, device: str = "auto", threads: int = 0) -> PlanarModel:
    """Return the model in a bundle.

    Parameters
    ----------
    folder
        Of the bundle.
    runtime
        One of ``runtimes.RUNTIMES``; None for the one on its card.
    device
        One of ``DEVICES``.
    threads
        Threads that one call may use; 0 for what ``OMP_NUM_THREADS`` says, else what the runtime likes.

    Raises
    ------
    WeightsError
        If a file is missing, damaged, or of a later version than this program.
    ChecksumError
        If a file is not the one that the card lists.
    MissingExtraError, UnknownNameError
        As ``runtimes.choose``.
    """
    content = load_card(folder / CARD)
    told, files = content.get(_BUNDLE, {}), content.get("files", {})
    version = told.get("version") if isinstance(told, dict) else None
    if version != VERSION or not told.keys() >= _KEPT or not isinstance(files, dict):
        raise WeightsError(
            got=f"{folder / CARD} of bundle version {version}",
            wanted=f"version {VERSION} with {', '.join(sorted(_KEPT))}, and a table of files",
            fix="Export the model again with this version of samaritan",
        )
    _require_files(folder, files)
    try:
        card, frame = read_card(folder / CARD), FrameSpec(**told["frame"])
        shapes = {name: tuple(map(int, shape)) for name, shape in told["features"].items()}
        spec = DecoderSpec(shapes, int(told["mask_side"]), bool(told["pads_boxes"]))
    except (TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            got=f"{folder / CARD} with a value of another kind: {error}",
            wanted="a card as samaritan export writes it",
            fix="Copy or export it again",
        ) from error
    wanted = runtime or told["runtime"]
    encoder = open_graph(folder / ENCODER, choose(wanted, device, heavy=True), device=device, threads=threads)
    decoder = open_graph(folder / DECODER, choose(wanted, device, heavy=False), device=device, threads=threads)
    return PlanarModel(card, GraphNetwork(encoder, decoder, spec), frame)


def require_graphs(folder: Path) -> None:
    """Raise ``WeightsError`` unless the graphs of a bundle are there; their content is not looked at."""
    for name in (ENCODER, DECODER):
        if not (folder / name).is_file():
            raise _no_file(name, folder)


def write_card(folder: Path, card: ModelCard, bundle: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Write the card of a bundle; ``files`` are SHA-256 by name."""
    told = {field.name: getattr(card, field.name) for field in fields(card)}
    told["prompts"] = sorted(card.prompts)
    told["scores"] = None  # measured on another runtime
    told["classes"] = {str(value): name for value, name in card.classes.items()} or None
    lines = [f"{name} = {_toml(value)}" for name, value in told.items() if value is not None and name != "sha256"]
    for table, entries in ((_BUNDLE, {"version": VERSION, **bundle}), ("files", files)):
        lines += ["", f"[{table}]", *(f"{json.dumps(name)} = {_toml(value)}" for name, value in entries.items())]
    (folder / CARD).write_text("\n".join(lines) + "\n", encoding="utf-8")


def bundle_table(model: PlanarModel, runtime: str) -> dict[str, Any]:
    """Return what a bundle's card says of a model beside its card."""
    spec = model.network.spec
    return {
        "mask_side": spec.mask_side,
        "pads_boxes": spec.pads_boxes,
        "features": {name: list(shape) for name, shape in spec.shapes.items()},
        "frame": asdict(model.frame),
        "runtime": runtime,
    }


def _toml(value: object) -> str:
    """Return a value as TOML writes it: JSON's way, but for tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_toml(entry)}" for name, entry in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _require_files(folder: Path, listed: Mapping[str, str]) -> None:
    if not {ENCODER, DECODER} <= listed.keys():
        raise WeightsError(got=f"{folder / CARD} lists {sorted(listed)}", wanted=f"{ENCODER} and {DECODER}")
    unlisted = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {*listed, CARD, CERTIFICATE}
    if unlisted:  # a graph may keep its weights in any file beside it
        raise WeightsError(
            got=f"{folder} with {printable(min(unlisted))}, which its card does not list",
            wanted="the files of the bundle alone",
            fix="Put it elsewhere, or copy or export the bundle again",
        )
    for name, sha256 in listed.items():
        if Path(name).name != name or not (folder / name).is_file():
            raise _no_file(name, folder)
        if sha256_of(folder / name) != sha256:
            raise ChecksumError(
                got=f"{name} in {folder} with another SHA-256", wanted=f"{sha256[:12]}…", fix="Copy or export it again"
            )


def _no_file(name: str, folder: Path) -> WeightsError:
    return WeightsError(
        got=f"no file {name} in {folder}", wanted="all files of the bundle", fix="Copy the whole folder again"
    )
