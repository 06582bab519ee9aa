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

    def encode(self, window):
        assert window.shape == (self.side,) * 3
        assert window.dtype == np.float32
        self.encoded += 1
        return window

    def decode(self, features, places, labels, mask):
        assert mask.shape == (self.side // 4,) * 3
        self.asked.append((places.copy(), labels.copy(), mask.copy()))
        logits = 4 * (self.cells(features) - (features.min() + features.max()) / 2)
        parts, _ = ndimage.label(logits > 0)
        clicks = np.clip((places / 4 + 0.125).astype(int), 0, self.side // 4 - 1)
        wanted = np.union1d(parts[tuple(clicks[labels == 1].T)], parts[mask > 0])
        unwanted = parts[tuple(clicks[labels == 0].T)]
        keep = np.isin(parts, np.setdiff1d(wanted, unwanted))
        return np.where((parts > 0) & ~keep, -logits, logits).astype(np.float32)

    def cells(self, features):
        return pooled(features)


class Flat(Threshold):
    """Of a volume of one plane, which fills but a part of its cells."""

    def cells(self, features):
        return pooled(np.repeat(features.max(axis=2, keepdims=True), self.side, axis=2))


class Ramp(Threshold):
    """Says the normalised values themselves, less a number: what lands where is then known at every voxel."""

    def decode(self, features, places, labels, mask):
        return pooled(features) - 100


def model(network=None):
    return SamMed3DModel(published("sam-med3d-turbo").card, network or Threshold())
