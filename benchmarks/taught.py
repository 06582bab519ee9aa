"""How well eight bits keep the masks of a network that was taught: `python -m benchmarks.taught --out runs/taught`.

`[--steps N] [--page docs/benchmarks.md]`. Random weights say little of that: their masks have no edge to keep. So a
network of MobileSAM's architecture learns for some minutes to find the objects of synthetic scenes, is exported in
float32 and in eight bits, calibrated on other scenes, and asked about scenes that are in neither. No published weights
are needed, and none come of it. A run that was killed goes on.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from training.arguments import count
from training.measures import dice
from training.tiny.quick_check import picture

from benchmarks.page import page_with, replace_part
from benchmarks.runtime_agreement import RUNTIMES
from samaritan.adapt import Group, Settings, fit
from samaritan.adapt.losses import dice_loss, iou_error, object_cross_entropy
from samaritan.autoprompt.simulate import Target, tight_box
from samaritan.core.image import Image
from samaritan.core.model import Model
from samaritan.core.prompts import MaskPrompt, Prompts
from samaritan.data.synthesis import draw_scene
from samaritan.models import mobile_sam
from samaritan.models.bundle import ENCODER, bundle_table, load_bundle, write_card
from samaritan.models.checkpoint import sha256_of
from samaritan.models.graphs import write_graphs
from samaritan.models.mobile_sam import MobileSam
from samaritan.models.planar.adapter import PlanarModel
from samaritan.models.planar.frame import FrameSpec
from samaritan.models.planar.network import DecoderSpec
from samaritan.models.planar.prompts import tokens
from samaritan.models.published import published
from samaritan.models.quantise import quantise
from samaritan.models.sam.decoder import SamDecoder

if TYPE_CHECKING:
    from transformers import SamModel

    from samaritan.models.planar.torch_network import TorchNetwork

SIDE = 256  # of scenes, and of the frame: a quarter of the usual one, or minutes would be hours
ARCHITECTURE, MASKS = "mobile-sam", 4
OBJECTS = 3  # of a scene, the largest
FRAME = FrameSpec(SIDE)
_SCENES = 4  # a batch
_RATE = 5e-4
_CROSS_ENTROPY = 0.1  # over the Dice loss
_MASK_SIDE = SIDE // 4
# Seeds of the scenes that are asked about, of those that eight bits are calibrated on, and the first that is learnt.
ASKED, CALIBRATED_ON, _FIRST_SEED = range(24), range(100, 116), 10_000


@dataclass(frozen=True, eq=False)
class Asked:
    """A scene's picture, and of each of its largest objects the mask (i, j, k) and the box around it."""

    image: Image
    objects: tuple[tuple[NDArray[np.bool_], Prompts], ...]


def scene(seed: int) -> Asked:
    """Return the scene of a number."""
    drawn = draw_scene(SIDE, np.random.default_rng(seed))
    largest = sorted(map(drawn.mask, drawn.objects), key=lambda mask: -int(mask.sum()))[:OBJECTS]
    targets = [Target.of_picture(mask.T) for mask in largest]
    return Asked(picture(drawn.image), tuple((target.mask, _question(target)) for target in targets))


def _question(target: Target) -> Prompts:
    """Return the box around an object, and all that is in it as an earlier mask: what a box means is learnt slowly."""
    box = tight_box(target)
    inside = np.zeros_like(target.mask)
    inside[box.start[0] : box.stop[0], box.start[1] : box.stop[1]] = True
    return Prompts(target.geometry, (box, MaskPrompt(inside)))


class Boxes:
    """To find what is in a box; a ``Task``."""

    def __init__(self, spec: DecoderSpec) -> None:
        self._spec = spec

    def batch(self, step: int) -> list[dict[str, Tensor]]:
        """Return scenes: a picture each, and of its objects what is asked and the masks (p, 1, rows, columns)."""
        return [self._read(scene(_FIRST_SEED + step * _SCENES + number)) for number in range(_SCENES)]

    def _read(self, asked: Asked) -> dict[str, Tensor]:
        letterbox = FRAME.letterbox((SIDE, SIDE))
        each = [tokens(prompts, None, letterbox, mask_side=_MASK_SIDE) for _, prompts in asked.objects]
        masks = torch.from_numpy(np.stack([mask[..., 0].T for mask, _ in asked.objects])[:, None]).float()
        said = {name: torch.from_numpy(array) for name, array in self._spec.inputs(each).items()}
        picture = torch.from_numpy(FRAME.picture(asked.image))
        return said | {"picture": picture, "masks": avg_pool2d(masks, SIDE // _MASK_SIDE)}

    def losses(self, module: nn.Module, batch: list[dict[str, Tensor]]) -> Mapping[str, Tensor]:
        """Return how wrong the masks and their predicted IoU are; all masks of an answer learn the same."""
        network = cast("MobileSam", module)
        decoder = SamDecoder(cast("SamModel", network))
        maps = network.image_encoder(torch.cat([asked["picture"] for asked in batch]))
        terms: dict[str, list[Tensor]] = {"dice": [], "entropy": [], "iou": []}
        for number, asked in enumerate(batch):
            said = {name: asked[name] for name in ("coords", "labels", "mask", "has_mask")}
            logits, iou = decoder(maps[number : number + 1], **said)
            valid = torch.ones_like(logits)
            terms["dice"].append(dice_loss(logits, asked["masks"], valid).mean())
            terms["entropy"].append(_CROSS_ENTROPY * object_cross_entropy(logits, asked["masks"], valid).mean())
            terms["iou"].append(iou_error(iou, logits, asked["masks"], valid))
        return {name: torch.stack(values).mean() for name, values in terms.items()}


def teach(folder: Path, steps: int) -> PlanarModel:
    """Return a model after so many steps; the run is in ``folder``, and goes on there."""
    torch.manual_seed(0)
    module = MobileSam(SIDE, MASKS)
    task = Boxes(mobile_sam.network(module, "cpu").spec)
    settings = Settings(steps=steps, average_decay=0.98, warm_up=0.1, precision="bfloat16")
    result = fit(
        module.train(), task, settings, folder, groups=[Group(list(module.parameters()), _RATE)],
        config={"architecture": ARCHITECTURE},
    )  # fmt: skip
    module.load_state_dict(result.average)
    card = replace(published(ARCHITECTURE).card, native_shape=(SIDE, SIDE), sha256="0" * 64)
    return PlanarModel(card, mobile_sam.network(module.eval(), "cpu"), FRAME)


def write_bundle(model: PlanarModel, folder: Path, *, int8: bool) -> None:
    """Write the model's graphs as ``samaritan export`` does, whatever comes of it."""
    write_graphs(cast("TorchNetwork", model.network), SIDE, folder)
    if int8:
        quantise(folder / ENCODER, [FRAME.picture(scene(seed).image) for seed in CALIBRATED_ON])
    files = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    write_card(folder, model.card, bundle_table(model, "auto"), files)


def row(model: PlanarModel, exported: Model, what: str) -> str:
    """Return the table's row: how well the masks of two models agree, and how right each model's are."""
    alike, before, after = [], [], []
    for asked in map(scene, ASKED):
        first, second = model.embed(asked.image), exported.embed(asked.image)
        for mask, prompts in asked.objects:
            ours, theirs = model.decode(first, prompts).mask, exported.decode(second, prompts).mask
            alike.append(dice(ours, theirs) if ours.any() or theirs.any() else 1.0)
            before.append(dice(mask, ours))
            after.append(dice(mask, theirs))
    right = f"{np.mean(before):.4f} | {np.mean(after):.4f}"
    return f"| {what} | {len(alike)} | {np.mean(alike):.4f} | {min(alike):.4f} | {right} |"


def rows(model: PlanarModel) -> Iterator[str]:
    """Yield the table's rows: of each precision, in each runtime."""
    for precision in ("float32", "int8"):
        with tempfile.TemporaryDirectory(prefix="samaritan-taught-") as place:
            write_bundle(model, Path(place), int8=precision == "int8")
            for runtime in RUNTIMES:
                yield row(model, load_bundle(Path(place), runtime=runtime), f"{precision} | {runtime}")


def main() -> None:
    """Read the command line, teach, export, compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the run goes, or goes on")
    parser.add_argument("--steps", type=count, default=600)
    parser.add_argument("--page", type=page_with("taught"), help="Markdown page whose part 'taught' the table becomes")
    options = parser.parse_args()
    head = (
        "| encoder | runtime | objects | Dice of exported and original, mean | lowest "
        "| Dice with the object: original | exported |",
        "|" + " --- |" * 7,
    )
    text = "\n".join((*head, *rows(teach(options.out, options.steps))))
    print(text)
    if options.page:
        replace_part(options.page, "taught", text + "\n")


if __name__ == "__main__":
    main()
