"""Contact sheets: the cases of a data set at a glance, each in the slice that shows most of what is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

from samaritan.core.errors import SamaritanError
from samaritan.core.geometry import Axis
from samaritan.core.image import Colour, Image
from samaritan.core.model import ModelCard
from samaritan.data.case import Case, DataSet
from samaritan.data.reading import read_image, read_objects
from samaritan.draw.overlay import PALETTE, View, montage, paint, tile
from samaritan.infer.channels import rule_of
from samaritan.infer.intensity import IntensityMap

_SIDE = 224
_LABELS = 40  # drawn of one case: more would cost time and show no more
# Intensities as people look at them; no model is meant.
_DISPLAY = ModelCard(
    name="display", family="", title="", licence="", commercial_use=True, native_shape=(), dims=2,
    prompts=frozenset(), sha256="", channels=1,
)  # fmt: skip


def contact_sheet(
    data: DataSet, *, count: int = 48, progress: Callable[[str, int, int], None] | None = None
) -> Pillow.Image:
    """Return a picture of at most ``count`` cases spread over a data set; what cannot be read says so in its place."""
    chosen = [
        data.cases[at] for at in np.linspace(0, len(data.cases) - 1, min(count, len(data.cases))).round().astype(int)
    ]
    tiles = []
    for done, case in enumerate(chosen, start=1):
        tiles.append(_tile_of(data, case))
        if progress:
            progress("drawing", done, len(chosen))
    return montage(tiles, [case.id if len(case.id) < 34 else f"...{case.id[-30:]}" for case in chosen])


def _tile_of(data: DataSet, case: Case) -> Pillow.Image:
    try:
        image = read_image(data.root, case)
        masks: dict[int, NDArray[np.bool_]] = {}
        for found in read_objects(data.root, case, image.geometry):
            if found.value in masks:  # cells, say: one colour, one layer
                masks[found.value] |= found.mask
            elif len(masks) < _LABELS:
                masks[found.value] = found.mask
        return case_tile(image, list(masks.values()), side=_SIDE)
    except SamaritanError as error:
        picture = Pillow.new("RGB", (_SIDE, _SIDE), (60, 20, 20))
        words = str(error).split()
        lines = [" ".join(words[at : at + 5]) for at in range(0, min(len(words), 40), 5)]
        ImageDraw.Draw(picture).multiline_text((6, 6), "\n".join(lines), fill=(255, 255, 255))
        return picture


def case_tile(image: Image, masks: Sequence[NDArray[np.bool_]], *, side: int) -> Pillow.Image:
    """Return the slice along k that shows most of ``masks``, or the middle one, at most ``side`` pixels wide.

    Raises
    ------
    ImageError
        If the image has no contrast.
    """
    areas = np.sum([np.count_nonzero(mask, axis=(0, 1)) for mask in masks], axis=0) if masks else np.zeros(1)
    index = int(areas.argmax()) if areas.any() else image.shape[2] // 2
    drawn = [(mask[..., index : index + 1], PALETTE[at % len(PALETTE)]) for at, mask in enumerate(masks)]
    return plane_tile(image, "k", index, drawn, side=side)


def plane_tile(
    image: Image, axis: Axis, index: int, masks: Sequence[tuple[NDArray[np.bool_], Colour]], *, side: int
) -> Pillow.Image:
    """Return a slice of an image as people look at it, with masks (a, b, 1) of the slice over it, in their colours.

    Raises
    ------
    ImageError
        If the image has no contrast.
    """
    card = replace(_DISPLAY, channels=3 if image.is_colour else 1)
    shown = image if image.is_colour else image.channel(image.channels[0])
    plane = IntensityMap.of(shown, card, channels=rule_of(None))(shown.plane(axis, index)).array.astype(np.uint8)
    view = View(image.geometry, axis, index, side)
    picture = tile(view, plane, [])
    for mask, colour in masks:
        paint(picture, view, mask, colour)
    return picture
