"""Networks in place of SAM-Med3D's: what is bright is the object, as far as it hangs together with what is asked."""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from samaritan.models.published import published
from samaritan.models.sam_med3d.adapter import SamMed3DModel
from samaritan.models.sam_med3d.lattice import pooled


@dataclass
class Threshold:
    """Halfway between a window's lowest and highest value; ``asked`` is what it was told, call by call."""

    side: int = 64
    encoded: int = 0
    asked: list = field(default_factory=list)

    def encode(self, part):
        assert part.shape == (self.side,) * 3
        assert part.dtype == np.float32
        self.encoded += 1
        return {"window": part}

    def to_arrays(self, features):
        return dict(features)

    def from_arrays(self, arrays):
        return dict(arrays)

    def decode(self, features, places, labels, mask):
        assert mask.shape == (self.side // 4,) * 3
        self.asked.append((places.copy(), labels.copy(), mask.copy()))
        window = features["window"]
        logits = 4 * (self.cells(window) - (window.min() + window.max()) / 2)
        parts, _ = ndimage.label(logits > 0)
        clicks = np.clip((places / 4 + 0.125).astype(int), 0, self.side // 4 - 1)
        wanted = np.union1d(parts[tuple(clicks[labels == 1].T)], parts[mask > 0])
        unwanted = parts[tuple(clicks[labels == 0].T)]
        keep = np.isin(parts, np.setdiff1d(wanted, unwanted))
        return np.where((parts > 0) & ~keep, -logits, logits).astype(np.float32)

    def cells(self, window):
        return pooled(window)


class Flat(Threshold):
    """Of a volume of one plane, which fills but a part of its cells."""

    def cells(self, window):
        return pooled(np.repeat(window.max(axis=2, keepdims=True), self.side, axis=2))


class Ramp(Threshold):
    """Says the normalised values themselves, less a number: what lands where is then known at every voxel."""

    def decode(self, features, places, labels, mask):
        return pooled(features["window"]) - 100


def model(network=None):
    return SamMed3DModel(published("sam-med3d-turbo").card, network or Threshold())
