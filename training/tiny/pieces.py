"""Objects that nobody labelled: pieces of training pictures that stand out.

People outline a few kinds of things; their pictures hold many more with edges as clear. Each picture is parted at a
random coarseness (Felzenszwalb and Huttenlocher 2004); of its segments those are kept that are compact, differ from
what is next to them and end at an edge. They teach where edges are, not what anything is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import felzenszwalb

from samaritan.adapt.prompted.view import View
from training.tiny.cases import by_family, read_cache, write_cache

Array = NDArray[Any]
Bools = NDArray[np.bool_]

VIEWS_A_FAMILY = 40
SIDE = 320  # pixels, at most, of a picture while it is parted
BLUR, COARSENESS = (0.7, 2.0), (30.0, 600.0)  # sigma in pixels; felzenszwalb's scale
LEAST_PX, LARGEST = 60, 0.35  # of a piece: pixels, and share of the picture
LEAST_SOLIDITY = 0.55  # its area over that of its convex hull
LEAST_CONTRAST = 0.35  # difference of the mean greys inside and around it, over their spreads
LEAST_EDGE = 1.6  # slope of the greys along its border, over the picture's median slope
_RING_PX = 3  # how far around a piece its surroundings reach
_FLAT = 2.0  # levels: spread of greys that is no more than noise


def load_pieces(views: Sequence[View], folder: Path) -> list[View]:
    """Return views whose objects are pieces of the pictures of `views`.

    They are kept in `folder`, in a file named after what they were made of: runs that hold out other families or
    cases have other pieces.
    """
    chosen = list(_chosen(views))
    made_of = [f"{view.family} {view.case} {len(view.objects)}" for view in chosen]
    cache = folder / f"tiny_pieces_{sha256('; '.join(made_of).encode()).hexdigest()[:8]}.npz"
    known = read_cache(cache, made_of=made_of)
    if known is not None:
        return known
    made = [pieces_of(view, np.random.default_rng(number)) for number, view in enumerate(chosen)]
    found = [view for view in made if view is not None]
    write_cache(found, cache, made_of=made_of)
    return found


def pieces_of(view: View, rng: np.random.Generator) -> View | None:
    """Return the view with pieces of its picture in place of its objects; None if nothing stands out."""
    assert view.image is not None
    height, width = view.parts.shape
    scale = min(1.0, SIDE / max(height, width))
    small = cv2.resize(view.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small, (0, 0), float(rng.uniform(*BLUR))).astype(np.float32)
    colour = smooth if smooth.ndim == 3 else smooth[..., None]
    coarseness = float(np.exp(rng.uniform(*np.log(COARSENESS))))
    segments = felzenszwalb(colour / 255, scale=coarseness, sigma=0, min_size=LEAST_PX, channel_axis=-1)
    parts = np.zeros(segments.shape, np.uint16)
    count = 0
    for place, piece in _standing_out(segments, colour.mean(axis=-1)):
        count += 1
        parts[place][piece] = count
    if not count:
        return None
    enlarged = cv2.resize(parts, (width, height), interpolation=cv2.INTER_NEAREST)
    return replace(
        view, parts=enlarged, objects=tuple((number,) for number in range(1, count + 1)), structures=(1,) * count
    )


def _chosen(views: Sequence[View]) -> Iterator[View]:
    """Yield `VIEWS_A_FAMILY` pictures of each family, evenly spread; some of them twice or more if it has few."""
    for _, part in sorted(by_family(views).items()):
        yield from (part[number * len(part) // VIEWS_A_FAMILY] for number in range(VIEWS_A_FAMILY))


def _standing_out(segments: Array, grey: Array) -> Iterator[tuple[tuple[slice, ...], Bools]]:
    """Yield the segments that would pass for objects: where in the picture, and the mask there."""
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    usual = float(np.median(slope)) + 1e-3
    for number, box in enumerate(ndimage.find_objects(segments + 1)):
        place = tuple(slice(max(0, side.start - _RING_PX), side.stop + _RING_PX) for side in box)
        piece = _largest(_opened(segments[place] == number))
        if not LEAST_PX <= piece.sum() <= LARGEST * segments.size:
            continue
        border = piece & ~ndimage.binary_erosion(piece)
        ring = ndimage.binary_dilation(piece, iterations=_RING_PX) & ~piece
        inside, around = grey[place][piece], grey[place][ring]
        if not around.size or _solidity(piece) < LEAST_SOLIDITY:
            continue
        contrast = abs(inside.mean() - around.mean()) / (inside.std() + around.std() + _FLAT)
        if contrast >= LEAST_CONTRAST and slope[place][border].mean() >= LEAST_EDGE * usual:
            yield place, piece


def _opened(mask: Bools) -> Bools:
    return np.asarray(ndimage.binary_opening(ndimage.binary_closing(mask)))


def _largest(mask: Bools) -> Bools:
    labels, count = ndimage.label(mask)
    return mask if count < 2 else np.asarray(labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]))


def _solidity(mask: Bools) -> float:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return float(mask.sum() / max(1.0, cv2.contourArea(cv2.convexHull(contours[0]))))
