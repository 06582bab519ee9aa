"""What the prompts say about the rest of the image: where it looks like what is under them.

`Likeness` compares learnt features, `Appearance` the greys and colours themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_BINS = 12  # of the histograms of each channel
_PSEUDO_CELLS = 4.0  # of the image's own greys in each histogram: a prompt on few cells says little
_LEAST_SHARE = 1e-3  # of a bin, so that what is in no histogram is not decisive


class Likeness(nn.Module):
    """Where the image looks like what is under the prompts, in features of the decoder.

    The features under the positive marks, the negative ones, the middle of the box and the previous mask are averaged,
    each to one vector. Every place is compared with the four by cosine, in groups of channels: each is another trait.
    """

    def __init__(self, channels: int, *, groups: int = 8) -> None:
        super().__init__()
        self.groups = groups
        self.traits = nn.Conv2d(channels, channels, 1)
        self.mix = nn.Conv2d(4 * groups, channels, 1)

    def forward(self, features: Tensor, under: Tensor) -> Tensor:
        """Compare.

        Parameters
        ----------
        features
            (b, channels, h, w) of one image (b = 1) or of n.
        under
            (n, 4, h, w), not negative: how much of a place each kind of prompt covers.

        Returns
        -------
        Tensor
            (n, channels, h, w)
        """
        traits = self._normed(self.traits(features).flatten(2))  # (b, c, cells)
        weights = under.flatten(2)
        weights = (weights / (weights.sum(dim=2, keepdim=True) + 1e-3)).to(traits.dtype)  # (n, 4, cells)
        means = self._normed((weights @ traits.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)  # (n, 4, c)
        # Each group apart in one product: few large matrices are faster than many small ones.
        apart = torch.eye(self.groups, dtype=means.dtype, device=means.device)[:, :, None]
        rows = means.reshape(*means.shape[:2], 1, self.groups, -1) * apart  # (n, 4, g, g, c / g)
        alike = rows.flatten(3).flatten(1, 2) @ traits  # (n, 4 g, cells)
        mixed: Tensor = self.mix(alike.reshape(*alike.shape[:2], *under.shape[2:]))
        return mixed

    def _normed(self, x: Tensor) -> Tensor:
        """Bring each group of the channels of (b, c, cells) to unit length."""
        grouped = x.reshape(x.shape[0], self.groups, -1, x.shape[2])
        inverse = torch.rsqrt(grouped.square().sum(dim=2, keepdim=True) + 1e-4)
        return (grouped * inverse.to(x.dtype)).flatten(1, 2)


class Appearance(nn.Module):
    """How much likelier each place's grey, or colour, is under the prompts than in the whole image.

    The regional term of interactive graph cuts (Boykov and Jolly 2001) as a feature: the histogram of the image under
    each kind of prompt, over that of the whole image. It holds for contrasts that no training image had.
    """

    levels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("levels", torch.linspace(0.0, 1.0, _BINS).view(-1, 1), persistent=False)

    def forward(self, image: Tensor, under: Tensor) -> Tensor:
        """Compare.

        Parameters
        ----------
        image
            (b, 3, 2 h, 2 w) in [0, 1], of one image (b = 1) or of n.
        under
            (n, kinds, h, w), not negative: how much of a place each kind of prompt covers.

        Returns
        -------
        Tensor
            (n, kinds, 2 h, 2 w): logarithms of ratios, mean of the three channels; 0 for a kind that is not there.
        """
        coarse = self._binned(functional.avg_pool2d(image, 2))
        weights = under.float().flatten(2)
        counts = weights @ coarse.transpose(1, 2)  # (n, kinds, 3 bins)
        usual = coarse.mean(dim=2)[:, None]
        shares = (counts + _PSEUDO_CELLS * usual) / (weights.sum(dim=2, keepdim=True) + _PSEUDO_CELLS)
        ratios = torch.log((shares + _LEAST_SHARE) / (usual + _LEAST_SHARE)) / image.shape[1]
        compared = ratios @ self._binned(image)
        return compared.reshape(*compared.shape[:2], *image.shape[2:])

    def _binned(self, image: Tensor) -> Tensor:
        """Return how far each place belongs to each bin of each channel, (b, 3 bins, cells); neighbours share it."""
        distance = (image.float().flatten(2)[:, :, None] - self.levels).abs() * (_BINS - 1)
        return functional.relu(1.0 - distance).flatten(1, 2)
