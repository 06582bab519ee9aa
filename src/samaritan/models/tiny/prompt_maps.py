"""Prompts as dense maps: what the network of the `tiny` model sees besides the picture.

Training and inference call the same `render`, so a prompt means the same in both. It needs numpy only.

**Frame.** Positions are *edge coordinates* of the network's input frame, in pixels: `x = 0` is the left edge of the
image, `x = width` its right edge, so the centre of the pixel in column `c` is `x = c + 0.5`; `y` runs down likewise. A
half-open box of pixel indices `[start, stop)` therefore *is* the box `(start, stop)` in edge coordinates. A map has one
cell for `STRIDE` x `STRIDE` input pixels; the centre of cell `(row, column)` lies at
`x = STRIDE * (column + 0.5)`, `y = STRIDE * (row + 0.5)`.

**Channels** of the float32 result `(CHANNELS, height / STRIDE, width / STRIDE)`; one that does not apply is all 0:

| index | holds | range |
|---|---|---|
| 0 | positive points as Gaussian spots (sigma `SPOT_SIGMA_PX`); 1 where a positive scribble touches the cell | [0, 1] |
| 1 | the same for negative ones | [0, 1] |
| 2 | nearness of the nearest positive point or scribble cell at distance d: `exp(-d / REACH_PX)` | [0, 1] |
| 3 | the same for negative ones | [0, 1] |
| 4 | the fraction of the cell that the box covers (its sum x STRIDE^2 is the box's area) | [0, 1] |
| 5 | flag, constant: 1 if there is a box | {0, 1} |
| 6 | x relative to the *prompt frame*: -0.5 on its left side, 0.5 on its right side, clipped | [-1, 1] |
| 7 | y likewise: -0.5 on its top side, 0.5 on its bottom side, clipped | [-1, 1] |
| 8 | boxes only: 1 in the centre of the inscribed ellipse, 0 on it, falling as the squared radius, clipped | [-1, 1] |
| 9 | size of the prompt frame, constant: `log2(sqrt(width * height) / 128) / 4` | about [-1.5, 1] |
| 10 | previous mask: mean of `tanh(logit / 4)` over the cell | [-1, 1] |
| 11 | flag, constant: 1 if there is a previous mask | {0, 1} |
| 12 to 15 | previous mask, finer: as 10, of the four quarters of a cell, row by row | [-1, 1] |

The *prompt frame* is the box; without a box it is the bounding box of the positive points and scribbles, widened about
its centre to at least `MIN_FRAME_PX` a side, so that one click still gives a local coordinate system; without either
there is none and channels 6, 7 and 9 are 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)

CHANNELS = 16
STRIDE = 4
SPOT_SIGMA_PX = 3.0
REACH_PX = 32.0
MIN_FRAME_PX = 128.0
FRAME_UNIT_PX = 128.0
LOGIT_SCALE = 4.0
MAX_SCRIBBLE_CELLS = 96

POSITIVE, NEGATIVE, NEAR_POSITIVE, NEAR_NEGATIVE, BOX, HAS_BOX = range(6)
_FRAME_X, _FRAME_Y, ELLIPSE, _FRAME_SIZE, PREVIOUS, HAS_PREVIOUS = range(6, 12)
PREVIOUS_QUARTERS = slice(12, 16)


@dataclass(frozen=True)
class Scribbles:
    """Freehand strokes on the network's input: boolean masks (height, width), or None where there is none."""

    positive: Bools | None = None
    negative: Bools | None = None


def render(
    shape_hw: tuple[int, int],
    *,
    points: Floats | None = None,
    positive: Bools | None = None,
    box: Floats | None = None,
    scribbles: Scribbles | None = None,
    previous: Floats | None = None,
) -> Floats:
    """Draw one object's prompts.

    Parameters
    ----------
    shape_hw
        Height and width of the network's input in pixels, multiples of `STRIDE`.
    points
        (n, 2) x and y in edge coordinates of the input.
    positive
        (n,) True for a point in the object, False for one outside it; needed with `points`.
    box
        (4,) x0, y0, x1, y1 in edge coordinates; it may reach beyond the image.
    scribbles
        Strokes on the input's pixel grid.
    previous
        Mask logits (h, w) over the whole input, with h and w whole multiples of twice the map's height and width (what
        the decoder returned last time fits).

    Returns
    -------
    Floats
        (CHANNELS, height / STRIDE, width / STRIDE), as the module's docstring lists them.
    """
    height, width = shape_hw
    if height % STRIDE or width % STRIDE:
        message = f"shape_hw is {shape_hw}; both must be multiples of {STRIDE}"
        raise ValueError(message)
    if (points is None) != (positive is None):
        message = "points and positive belong together: give both or neither"
        raise ValueError(message)
    rows, columns = height // STRIDE, width // STRIDE
    maps = np.zeros((CHANNELS, rows, columns), np.float32)
    strokes = scribbles or Scribbles()
    spots = np.zeros((0, 2), np.float32) if points is None else np.asarray(points, np.float32).reshape(-1, 2)
    signs = np.zeros(0, bool) if positive is None else np.asarray(positive, bool).reshape(-1)
    inside = _draw_marks(maps, spots[signs], strokes.positive, channels=(POSITIVE, NEAR_POSITIVE))
    _draw_marks(maps, spots[~signs], strokes.negative, channels=(NEGATIVE, NEAR_NEGATIVE))
    frame = _frame_around(inside)
    if box is not None:
        frame = np.asarray(box, np.float64).reshape(4)
        maps[BOX] = box_coverage(frame, (rows, columns))
        maps[HAS_BOX] = 1.0
    if frame is not None:
        _draw_frame(maps, frame, is_box=box is not None)
    if previous is not None:
        shown = np.tanh(np.asarray(previous, np.float32) / LOGIT_SCALE)
        quarters = _blocks(_block_mean(shown, (2 * rows, 2 * columns)), (rows, columns))
        maps[PREVIOUS_QUARTERS] = quarters.transpose(1, 3, 0, 2).reshape(4, rows, columns)
        maps[PREVIOUS] = maps[PREVIOUS_QUARTERS].mean(axis=0)
        maps[HAS_PREVIOUS] = 1.0
    return maps


def box_coverage(box: NDArray[np.floating], map_shape: tuple[int, int]) -> Floats:
    """Fraction of every map cell that `box` (x0, y0, x1, y1 in edge coordinates of the input) covers."""
    rows, columns = map_shape
    across = _interval_coverage(float(box[0]), float(box[2]), columns)
    down = _interval_coverage(float(box[1]), float(box[3]), rows)
    return np.asarray(np.multiply.outer(down, across), np.float32)


def _interval_coverage(start: float, stop: float, cells: int) -> Floats:
    edges = np.arange(cells + 1, dtype=np.float64) * STRIDE
    overlap = np.minimum(stop, edges[1:]) - np.maximum(start, edges[:-1])
    return np.asarray(np.clip(overlap, 0.0, None) / STRIDE, np.float32)


def _draw_marks(maps: Floats, points: Floats, scribble: Bools | None, *, channels: tuple[int, int]) -> Floats:
    """Draw points and a scribble of one sign; return their positions (n, 2) in edge coordinates."""
    spot_channel, near_channel = channels
    _, rows, columns = maps.shape
    if len(points):
        nearest = _squared_distance(points, (rows, columns))
        maps[spot_channel] = np.exp(-nearest / (2.0 * SPOT_SIGMA_PX**2))
    marks = points
    if scribble is not None and scribble.any():
        touched = _block_any(scribble, (rows, columns))
        maps[spot_channel][touched] = 1.0
        marks = np.concatenate([points, _cell_centres(touched)])
    if len(marks):
        maps[near_channel] = np.exp(-np.sqrt(_squared_distance(marks, (rows, columns))) / REACH_PX)
    return marks


def _cell_centres(cells: Bools) -> Floats:
    """Centres (n, 2) of the marked cells; evenly thinned to `MAX_SCRIBBLE_CELLS`, which bounds the time of a stroke."""
    row, column = np.nonzero(cells)
    step = -(-len(row) // MAX_SCRIBBLE_CELLS)
    centres = np.stack([column[::step], row[::step]], axis=1).astype(np.float32)
    return (centres + np.float32(0.5)) * np.float32(STRIDE)


def _squared_distance(points: Floats, map_shape: tuple[int, int]) -> Floats:
    """Squared distance in pixels from every cell's centre to the nearest of `points`, (rows, columns)."""
    rows, columns = map_shape
    x = (np.arange(columns, dtype=np.float32) + 0.5) * STRIDE
    y = (np.arange(rows, dtype=np.float32) + 0.5) * STRIDE
    nearest = np.full(map_shape, np.inf, np.float32)
    for point_x, point_y in points:
        np.minimum(nearest, ((y - point_y) ** 2)[:, None] + ((x - point_x) ** 2)[None, :], out=nearest)
    return nearest


def _frame_around(marks: Floats) -> NDArray[np.float64] | None:
    if not len(marks):
        return None
    low, high = marks.min(axis=0).astype(np.float64), marks.max(axis=0).astype(np.float64)
    centre, half = (low + high) / 2, np.maximum((high - low) / 2, MIN_FRAME_PX / 2)
    return np.concatenate([centre - half, centre + half])


def _draw_frame(maps: Floats, frame: NDArray[np.float64], *, is_box: bool) -> None:
    _, rows, columns = maps.shape
    centre = (frame[:2] + frame[2:]) / 2
    sides = np.maximum(frame[2:] - frame[:2], 1.0)
    u = ((np.arange(columns) + 0.5) * STRIDE - centre[0]) / sides[0]
    v = ((np.arange(rows) + 0.5) * STRIDE - centre[1]) / sides[1]
    maps[_FRAME_X] = np.clip(u, -1, 1)[None, :]
    maps[_FRAME_Y] = np.clip(v, -1, 1)[:, None]
    if is_box:
        maps[ELLIPSE] = np.clip(1.0 - 4.0 * (u[None, :] ** 2 + v[:, None] ** 2), -1, 1)
    maps[_FRAME_SIZE] = np.log2(np.sqrt(sides[0] * sides[1]) / FRAME_UNIT_PX) / 4


def _blocks(values: NDArray[Scalar], map_shape: tuple[int, int]) -> NDArray[Scalar]:
    """View (h, w) values as (rows, h / rows, columns, w / columns)."""
    (height, width), (rows, columns) = values.shape, map_shape
    if height % rows or width % columns:
        message = f"values of shape {values.shape} do not divide into a map of {map_shape}"
        raise ValueError(message)
    return values.reshape(rows, height // rows, columns, width // columns)


def _block_mean(values: Floats, map_shape: tuple[int, int]) -> Floats:
    return np.asarray(_blocks(values, map_shape).mean(axis=(1, 3)), np.float32)


def _block_any(values: Bools, map_shape: tuple[int, int]) -> Bools:
    return np.asarray(_blocks(values, map_shape).any(axis=(1, 3)), np.bool_)
