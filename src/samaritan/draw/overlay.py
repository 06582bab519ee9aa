"""Pictures of results: slices as a radiologist looks at them, with objects and prompts drawn over them.

The patient's right is on the viewer's left, anterior is up in axial slices, superior is up in the others; letters at
the borders say so. Pixels are drawn at their true aspect ratio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Pillow
from PIL import ImageChops, ImageDraw, ImageFilter, ImageFont

from samaritan.core.geometry import Axis, Geometry, Reorientation, axis_number
from samaritan.core.image import Colour, Image, take_plane
from samaritan.core.model import ModelCard
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble
from samaritan.infer.channels import AVERAGE, EACH, Channels, rule_of
from samaritan.infer.intensity import IntensityMap
from samaritan.io.atomic import atomic_path

# Easy to tell apart, for colour-blind people too (Okabe and Ito 2008), and from grey tissue.
PALETTE: tuple[Colour, ...] = (
    (86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66), (213, 94, 0), (0, 114, 178),
)  # fmt: skip
_POSITIVE, _NEGATIVE, _PAPER, _INK = (60, 220, 60), (240, 50, 50), (20, 20, 20), (255, 255, 255)
_FILL = 0.35
# Columns towards the patient's Left, rows towards Posterior or, where there is no such axis, Inferior.
_DISPLAY = "LPI"
_OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "I": "S", "S": "I"}
_MAX_TILES = 6
_SIZE, _TILE_SIZE = 768, 384  # pixels along the longer side, of one picture and in a montage


@dataclass(frozen=True, slots=True)
class Layer:
    """One object to draw: its mask (i, j, k), and the prompts it came from."""

    name: str
    mask: NDArray[np.bool_]
    prompts: Prompts
    colour: Colour


def layers_of(masks: Mapping[str, NDArray[np.bool_]], prompts: Mapping[str, Prompts]) -> list[Layer]:
    """Return a layer for each object, in the colours of the palette."""
    return [Layer(n, mask, prompts[n], PALETTE[at % len(PALETTE)]) for at, (n, mask) in enumerate(masks.items())]


@dataclass(frozen=True, slots=True)
class View:
    """One slice, turned the way it is displayed and scaled to ``size`` pixels along its longer side."""

    geometry: Geometry
    axis: Axis
    index: int
    size: int

    @property
    def _plane(self) -> Geometry:
        return self.geometry.plane(self.axis, self.index)

    @property
    def _turn(self) -> Reorientation | None:
        plane = self._plane
        return plane.reorientation(_DISPLAY) if plane.unit == "mm" else None

    @property
    def _shown(self) -> tuple[Geometry, int, int]:
        """The turned plane's grid, and which of its axes are columns and rows."""
        turn = self._turn
        if turn is None:
            return self._plane, 0, 1
        columns, rows = (a for a in range(3) if turn.order[a] != 2)
        return turn.target, columns, rows

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height of the picture."""
        grid, *axes = self._shown
        extents = [grid.shape[a] * grid.spacing[a] for a in axes]
        width, height = (max(1, round(extent * self.size / max(extents))) for extent in extents)
        return width, height

    @property
    def letters(self) -> tuple[str, str, str, str] | None:
        """Directions at the left, right, top and bottom border; None for a picture."""
        grid, columns, rows = self._shown
        if grid.orientation is None:
            return None
        right, bottom = grid.orientation[columns], grid.orientation[rows]
        return _OPPOSITE[right], right, _OPPOSITE[bottom], bottom

    def slice_of(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return this slice of ``array`` (..., i, j, k) as (..., rows, columns)."""
        return self.turned(take_plane(array, self.axis, self.index))

    def turned(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Return a plane (..., a, b, 1), as ``Geometry.plane`` has it, as (..., rows, columns)."""
        turn = self._turn
        if turn is not None:
            plane = turn.apply(plane)
        flat: NDArray[Any] = plane.squeeze(plane.ndim - 3 + (turn.order.index(2) if turn else 2))
        return flat.swapaxes(-1, -2)

    def place(self, index: ArrayLike) -> list[tuple[float, float]]:
        """Return where voxel indices (n, 3) lie in the picture, as (x, y) in pixels."""
        grid, columns, rows = self._shown
        there = grid.world_to_index(self.geometry.index_to_world(index))
        width, height = self.pixels
        x = (there[:, columns] + 0.5) * width / grid.shape[columns]
        y = (there[:, rows] + 0.5) * height / grid.shape[rows]
        return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def draw(
    image: Image,
    layers: Sequence[Layer],
    *,
    card: ModelCard,
    axis: Axis,
    window: str | None = None,
    channels: Channels | None = None,
) -> Pillow.Image:
    """Return a picture, or for a volume a montage of slices along ``axis``; intensities are those the model saw.

    Of channels that it saw apart, their mean.
    """
    grey = replace(card, channels=3 if image.is_colour else 1, intensity_range=(0.0, 255.0))
    rule = rule_of(channels)
    together = replace(rule, rule=AVERAGE) if rule.rule == EACH else rule
    to_grey = IntensityMap.of(image, grey, window=window, channels=together)
    slices = [0] if image.is_2d else slices_to_show(axis, layers)
    axis = "k" if image.is_2d else axis
    tiles = []
    for index in slices:
        plane = to_grey(image.plane(axis, index)).array.astype(np.uint8)
        view = View(image.geometry, axis, index, _SIZE if len(slices) == 1 else _TILE_SIZE)
        tiles.append(tile(view, plane, layers))
    _draw_legend(tiles[0], layers)
    return tiles[0] if image.is_2d else montage(tiles, [f"{axis} = {index}" for index in slices])


def save(picture: Pillow.Image, path: Path) -> Path:
    """Write ``picture`` to ``path``, whole or not at all; its ending says in which format."""
    with atomic_path(path) as staged:
        picture.save(staged)
    return path


def tile(view: View, plane: NDArray[np.uint8], layers: Sequence[Layer]) -> Pillow.Image:
    """Return the picture of one slice: ``plane`` (c, a, b, 1) of 1 or 3 channels, with ``layers`` over it."""
    pixels = view.turned(plane)
    shown = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
    picture = (
        Pillow.fromarray(np.ascontiguousarray(shown)).convert("RGB").resize(view.pixels, Pillow.Resampling.BICUBIC)
    )
    for layer in layers:
        _paint(picture, _scaled(view.slice_of(layer.mask), view), layer.colour)
    draw = ImageDraw.Draw(picture)
    for layer in layers:
        _draw_prompts(draw, view, layer.prompts)
    _draw_letters(draw, view)
    return picture


def paint(picture: Pillow.Image, view: View, plane: NDArray[np.bool_], colour: Colour) -> None:
    """Draw a mask of the slice that a picture shows, (a, b, 1) as ``Geometry.plane`` has it, over the picture."""
    _paint(picture, _scaled(view.turned(plane), view), colour)


def slices_to_show(axis: Axis, layers: Sequence[Layer], *, count: int = _MAX_TILES) -> list[int]:
    """Return at most ``count`` slices along ``axis``: prompted ones first, the others spread over the objects."""
    normal = axis_number(axis)
    prompted = sorted({at for layer in layers for at in _prompted_slices(layer.prompts, normal)})
    chosen = prompted[:: max(1, ceil(len(prompted) / count))]
    others = tuple(a for a in range(3) if a != normal)
    found = np.flatnonzero(np.any([layer.mask.any(axis=others) for layer in layers], axis=0))
    if found.size:
        apart = (found[-1] - found[0]) / (2 * count)
        for at in np.linspace(found[0], found[-1], count + 2)[1:-1].round().astype(int).tolist():
            if len(chosen) < count and all(abs(at - taken) > apart for taken in chosen):
                chosen.append(at)
    return sorted(chosen)


def montage(tiles: Sequence[Pillow.Image], captions: Sequence[str], *, columns: int | None = None) -> Pillow.Image:
    """Return pictures side by side in a grid, each with a line of text under it."""
    columns = columns or ceil(sqrt(len(tiles)))
    width, height = max(t.width for t in tiles), max(t.height for t in tiles)
    font = _font(max(11, width // 26))
    line = int(font.getbbox("Ag")[3]) + 8
    rows = ceil(len(tiles) / columns)
    sheet = Pillow.new("RGB", (columns * width, rows * (height + line)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for at, (picture, caption) in enumerate(zip(tiles, captions, strict=True)):
        x, y = (at % columns) * width, (at // columns) * (height + line)
        sheet.paste(picture, (x + (width - picture.width) // 2, y + (height - picture.height) // 2))
        draw.text((x + width // 2, y + height + 3), caption, fill=_INK, font=font, anchor="ma")
    return sheet


def _prompted_slices(prompts: Prompts, normal: int) -> list[int]:
    """Return the slices that points, lassos and boxes of one slice lie in; the middle one of a thick box."""
    slices = [point.voxel[normal] for point in prompts.points]
    slices += [(box.start[normal] + box.stop[normal] - 1) // 2 for box in prompts.boxes]
    slices += [lasso.slice_index for lasso in prompts.of(Lasso) if axis_number(lasso.axis) == normal]
    slices += [int(np.median(scribble.voxels[:, normal])) for scribble in prompts.of(Scribble)]
    for item in prompts.of(MaskPrompt):
        slices.append(int(np.median(np.nonzero(item.mask)[normal])))
    return slices


def _scaled(mask: NDArray[np.bool_], view: View) -> Pillow.Image:
    grey = Pillow.fromarray(np.ascontiguousarray(mask).astype(np.uint8) * 255)
    return grey.resize(view.pixels, Pillow.Resampling.BILINEAR).point(lambda value: 255 * (value >= 128))


def _paint(picture: Pillow.Image, mask: Pillow.Image, colour: Colour) -> None:
    picture.paste(colour, mask=mask.point(lambda value: int(value * _FILL)))
    picture.paste(colour, mask=ImageChops.subtract(mask, mask.filter(ImageFilter.MinFilter(5))))


def _draw_prompts(draw: ImageDraw.ImageDraw, view: View, prompts: Prompts) -> None:
    normal = axis_number(view.axis)
    radius = max(3, view.size // 90)
    for item in prompts.items:
        if isinstance(item, Box) and item.start[normal] <= view.index < item.stop[normal]:
            draw.rectangle(_rectangle(item, view), outline=_INK, width=max(1, radius // 3))
        elif isinstance(item, Lasso) and axis_number(item.axis) == normal and item.slice_index == view.index:
            draw.polygon(view.place(item.vertices), outline=_INK, width=max(1, radius // 3))
        elif isinstance(item, Scribble):
            here = item.voxels[item.voxels[:, normal] == view.index]
            for x, y in view.place(here):
                draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=_POSITIVE if item.positive else _NEGATIVE)
        elif isinstance(item, Point) and item.voxel[normal] == view.index:
            ((x, y),) = view.place([item.index])
            fill = _POSITIVE if item.positive else _NEGATIVE
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill, outline=_INK, width=1)


def _rectangle(box: Box, view: View) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = view.place(np.array([box.start, box.stop]) - 0.5)
    width, height = view.pixels
    return max(0, min(x0, x1)), max(0, min(y0, y1)), min(width - 1, max(x0, x1)), min(height - 1, max(y0, y1))


def _draw_letters(draw: ImageDraw.ImageDraw, view: View) -> None:
    if view.letters is None:
        return
    width, height = view.pixels
    places = ((3, height / 2, "lm"), (width - 3, height / 2, "rm"), (width / 2, 2, "ma"), (width / 2, height - 3, "md"))
    for letter, (x, y, anchor) in zip(view.letters, places, strict=True):
        draw.text(
            (x, y),
            letter,
            fill=_INK,
            font=_font(max(10, view.size // 26)),
            anchor=anchor,
            stroke_width=2,
            stroke_fill=_PAPER,
        )


def _draw_legend(picture: Pillow.Image, layers: Sequence[Layer]) -> None:
    draw = ImageDraw.Draw(picture)
    font = _font(max(11, max(picture.size) // 32))
    for row, layer in enumerate(layers):
        at = (6, 5 + row * (font.getbbox("Ag")[3] + 4))
        draw.text(at, layer.name, fill=layer.colour, font=font, stroke_width=2, stroke_fill=_PAPER)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
