"""Attention in another order gives what transformers gives, and upscaling by cells what convolutions give."""

import pytest
import torch
from tests.models.references import randomise
from torch import nn
from transformers import Sam2MaskDecoderConfig, SamMaskDecoderConfig
from transformers.models.sam.modeling_sam import SamTwoWayTransformer
from transformers.models.sam2.modeling_sam2 import Sam2TwoWayTransformer

from samaritan.models.sam.two_way import TwoWay
from samaritan.models.sam.upscale import doubled, normed, to_cells, to_map

SIDE, CHANNELS = 5, 64


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(
    ("kind", "config"),
    [(SamTwoWayTransformer, SamMaskDecoderConfig), (Sam2TwoWayTransformer, Sam2MaskDecoderConfig)],
)
@pytest.mark.parametrize(("objects", "tokens"), [(1, 7), (3, 20)])
@torch.no_grad()
def test_attention_is_that_of_transformers(kind, config, objects, tokens):
    chosen = config(hidden_size=CHANNELS, num_attention_heads=4, mlp_dim=48)
    chosen._attn_implementation = "eager"
    original = randomise(kind(chosen))
    asked, picture = drawn(objects, tokens, CHANNELS), drawn(objects, CHANNELS, SIDE, SIDE)
    places = drawn(1, CHANNELS, SIDE, SIDE)
    wanted, seen = original(
        point_embeddings=asked[:, None],
        image_embeddings=picture,
        image_positional_embeddings=places.expand(objects, -1, -1, -1),
        attention_similarity=None,
    )
    found, cells = TwoWay(original)(asked, picture.flatten(2).mT, places.flatten(2).mT)
    torch.testing.assert_close(found, wanted[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(cells, seen[:, 0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_upscaling_is_that_of_convolutions():
    first, second = (nn.ConvTranspose2d(*channels, kernel_size=2, stride=2) for channels in ((6, 4), (4, 3)))
    norm = randomise(nn.LayerNorm(4))
    picture = drawn(2, 6, SIDE, SIDE)
    middle = norm(first(picture).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    coarse = normed(doubled(to_cells(picture, SIDE, 0), first), norm)
    torch.testing.assert_close(to_map(coarse, SIDE, 1), middle)
    torch.testing.assert_close(coarse, to_cells(middle, SIDE, 1))
    fine = doubled(coarse, second)
    torch.testing.assert_close(to_map(fine, SIDE, 2), second(middle))
    torch.testing.assert_close(to_cells(second(middle), SIDE, 2), fine)
