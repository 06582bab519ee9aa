"""What the models of Segment Anything's shape share: one plane into a square frame, prompts as tokens, masks back.

A family brings a network and a ``FrameSpec``; ``PlanarModel`` makes a ``Model`` of them, whichever runtime the network
is run by.
"""

from samaritan.models.planar.adapter import PlanarEmbedding, PlanarModel, maker
from samaritan.models.planar.frame import FrameSpec
from samaritan.models.planar.network import Features, Network, Tokens

__all__ = ["Features", "FrameSpec", "Network", "PlanarEmbedding", "PlanarModel", "Tokens", "maker"]
