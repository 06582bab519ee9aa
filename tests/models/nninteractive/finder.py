"""Region growing in a volume, in place of a network: what resembles the marks, and hangs together with them.

Like the network, it sees no more than a patch around the prompt that came last, enlarged for one that is large.
"""

import numpy as np
from scipy import ndimage

_TOLERANCE = 0.25  # of the image's range, if there is nothing to tell the object from


class Finder:
    """Knows the prompts since the last reset; ``find`` says what they mean in a ``patch`` around the last."""

    def __init__(self, image, patch):
        self.image, self.patch = np.asarray(image, np.float32), np.array(patch)
        self.reset()

    def reset(self):
        self.marks = {sign: np.zeros(self.image.shape, np.bool_) for sign in (True, False)}
        self.boxes, self.lassos, self.started = [], [], False

    def start(self, mask):
        self.started = True
        self._came_last(mask)

    def mark(self, where, *, positive, region=False):
        self.marks[positive][where] = True
        new = np.zeros(self.image.shape, np.bool_)
        new[where] = True
        self._came_last(new)
        if region and positive:
            self.lassos.append(where)

    def box(self, sides):
        self.boxes.append(sides)
        self.last = np.array(sides)

    def _came_last(self, mask):
        where = np.argwhere(mask)
        if len(where):
            self.last = np.stack([where.min(0), where.max(0) + 1], axis=1)

    def _view(self):
        """What is seen: a patch around the middle of the last prompt, with a third of a patch around all of it."""
        centre = np.round(self.last.mean(axis=1)).astype(int)
        size = np.round(self.patch * max(1, ((np.ptp(self.last, axis=1) + self.patch // 3) / self.patch).max()))
        low = centre - size.astype(int) // 2
        view = np.zeros(self.image.shape, np.bool_)
        view[tuple(slice(max(0, a), max(0, a + int(n))) for a, n in zip(low.tolist(), size, strict=True))] = True
        return view

    def find(self, before):
        """Return the mask after the one ``before``."""
        view = self._view()
        return np.where(view, self._find(before & view, view), before)

    def _find(self, before, view):
        positive, negative, region = self.marks[True] & view, self.marks[False] & view, self._region() & view
        if not positive.any() and self.boxes:
            positive = self._middles() & view
        mask = before
        if positive.any():
            mask = mask | self._grow(positive, negative, region)
        elif self.started and not negative.any():
            mask = self._grow(before, negative, ndimage.binary_dilation(before, iterations=3))
        return mask & ~self._away(negative, mask)

    def _region(self):
        """Within all boxes and lassos; a lone flat one says nothing of the axis that it lies across."""
        if not self.boxes and not self.lassos:
            return np.ones(self.image.shape, np.bool_)
        blocks = [np.array(sides) for sides in self.boxes]
        for lasso in self.lassos:
            where = np.argwhere(lasso)
            blocks.append(np.stack([where.min(0), where.max(0) + 1], axis=1))
        low, high = np.min(blocks, axis=0)[:, 0], np.max(blocks, axis=0)[:, 1]
        region = np.zeros(self.image.shape, np.bool_)
        region[
            tuple(slice(a, b) if b - a > 1 else slice(None) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        ] = True
        return region

    def _middles(self):
        middles = np.zeros(self.image.shape, np.bool_)
        for sides in self.boxes:
            thirds = [(a + (b - a) // 3, b - (b - a) // 3) for a, b in sides]
            middles[tuple(slice(a, max(b, a + 1)) for a, b in thirds)] = True
        return middles

    def _grow(self, seeds, negative, region):
        inside = np.median(self.image[seeds])
        rim = negative if negative.any() else region & ~ndimage.binary_erosion(region, border_value=int(region.all()))
        apart = abs(float(np.median(self.image[rim]) - inside)) / 2 if rim.any() else 0.0
        alike = (np.abs(self.image - inside) <= (apart if apart > 1 else _TOLERANCE * np.ptp(self.image))) & region
        parts, _ = ndimage.label(alike)
        wanted = np.unique(parts[seeds & alike])
        return np.isin(parts, wanted[wanted > 0])

    def _away(self, negative, mask):
        wrong = negative & mask
        if not wrong.any():
            return negative
        return negative | (mask & (np.abs(self.image - np.median(self.image[wrong])) <= 1))
