"""The adapters that SAM-Med2D puts into each block of the encoder, beside its perceptron.

Parameters have the names of the official checkpoints.
"""

from __future__ import annotations

from torch import Tensor, nn

_SQUEEZE = 4  # channels of the block for each of the gate's hidden ones


class Adapter(nn.Module):
    """What a block learns of medical pictures, (n, rows, columns, width) to the same shape (Cheng et al. 2023).

    The channels are weighed by what the whole picture shows (Hu et al. 2018, Squeeze-and-Excitation); two convolutions
    look around at half the resolution; what they find is added, and all is normed.

    Parameters
    ----------
    width
        Channels of the block.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        hidden = width // _SQUEEZE
        self.channel = nn.Sequential(
            nn.Linear(width, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, width, bias=False), nn.Sigmoid()
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )

    def forward(self, places: Tensor) -> Tensor:
        """Return what is to be added to the block's output; rows and columns are even."""
        weighed = places * self.channel(places.mean(dim=(1, 2)))[:, None, None]
        around = self.spatial(weighed.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        adapted: Tensor = self.norm(places + around)
        return adapted


class MlpBesideAdapter(nn.Module):
    """A block's perceptron and its adapter, which take the same and whose outputs are added.

    Parameters
    ----------
    mlp
        The perceptron.
    width
        Channels of the block.
    """

    def __init__(self, mlp: nn.Module, width: int) -> None:
        super().__init__()
        self.mlp, self.adapter = mlp, Adapter(width)

    def forward(self, places: Tensor) -> Tensor:
        """Return the sum."""
        both: Tensor = self.mlp(places) + self.adapter(places)
        return both
