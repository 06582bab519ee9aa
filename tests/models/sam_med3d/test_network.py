"""SAM-Med3D's module has the published tensors and computes what the published definition says, written out plainly."""

import functools
import math
from itertools import product

import numpy as np
import pytest
import torch
from tests.models.references import randomise
from torch.nn import functional

from samaritan.core.errors import CorruptFileError
from samaritan.models.planar import torch_network
from samaritan.models.sam_med3d import FAMILY
from samaritan.models.sam_med3d.encoder import Attention, Block
from samaritan.models.sam_med3d.network import SamMed3D, Size
from samaritan.models.sam_med3d.torch_network import TorchNetwork

CLOSE = 1e-4
SMALL = Size(side=48, width=24, depth=2, heads=2, window=2, whole=(1,), channels=48, mask_channels=8, decoder_hidden=32)


# -- names and shapes ---------------------------------------------------------------------------------------------


def _dense(name, inwards, outwards):
    return {f"{name}.weight": (outwards, inwards), f"{name}.bias": (outwards,)}


def _norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _kernel(name, *shape, bias):
    return {f"{name}.weight": shape, f"{name}.bias": (bias,)} if bias else {f"{name}.weight": shape}


def published_shapes():
    """Names and shapes in sam_med3d_turbo.pth, by rule: ViT-B of 768 channels, grid of 8, windows of 14."""
    shapes = {"image_encoder.pos_embed": (1, 8, 8, 8, 768)}
    shapes |= _kernel("image_encoder.patch_embed.proj", 768, 1, 16, 16, 16, bias=768)
    for n in range(12):
        block, reach = f"image_encoder.blocks.{n}", 8 if n in (2, 5, 8, 11) else 14
        shapes |= _norm(f"{block}.norm1", 768) | _norm(f"{block}.norm2", 768)
        shapes |= _dense(f"{block}.attn.qkv", 768, 2304) | _dense(f"{block}.attn.proj", 768, 768)
        shapes |= {f"{block}.attn.rel_pos_{axis}": (2 * reach - 1, 64) for axis in "dhw"}
        shapes |= _dense(f"{block}.mlp.lin1", 768, 3072) | _dense(f"{block}.mlp.lin2", 3072, 768)
    shapes |= _kernel("image_encoder.neck.0", 384, 768, 1, 1, 1, bias=0) | _norm("image_encoder.neck.1", 384)
    shapes |= _kernel("image_encoder.neck.2", 384, 384, 3, 3, 3, bias=0) | _norm("image_encoder.neck.3", 384)
    prompt, mask = "prompt_encoder", "prompt_encoder.mask_downscaling"
    shapes |= {f"{prompt}.pe_layer.positional_encoding_gaussian_matrix": (3, 128)}
    for token in ("point_embeddings.0", "point_embeddings.1", "not_a_point_embed", "no_mask_embed"):
        shapes |= {f"{prompt}.{token}.weight": (1, 384)}
    shapes |= _kernel(f"{mask}.0", 4, 1, 2, 2, 2, bias=4) | _norm(f"{mask}.1", 4)
    shapes |= _kernel(f"{mask}.3", 16, 4, 2, 2, 2, bias=16) | _norm(f"{mask}.4", 16)
    shapes |= _kernel(f"{mask}.6", 384, 16, 1, 1, 1, bias=384)
    decoder, both = "mask_decoder", "mask_decoder.transformer"
    crossing = {"cross_attn_token_to_image": 192, "cross_attn_image_to_token": 192, "self_attn": 384}
    attentions = {f"{both}.layers.{n}.{name}": inner for n in (0, 1) for name, inner in crossing.items()}
    for name, inner in (attentions | {f"{both}.final_attn_token_to_image": 192}).items():
        for part in "qkv":
            shapes |= _dense(f"{name}.{part}_proj", 384, inner)
        shapes |= _dense(f"{name}.out_proj", inner, 384)
    for n in (0, 1):
        layer = f"{both}.layers.{n}"
        shapes |= _dense(f"{layer}.mlp.lin1", 384, 2048) | _dense(f"{layer}.mlp.lin2", 2048, 384)
        for norm in (1, 2, 3, 4):
            shapes |= _norm(f"{layer}.norm{norm}", 384)
    shapes |= _norm(f"{both}.norm_final_attn", 384)
    shapes |= {f"{decoder}.iou_token.weight": (1, 384), f"{decoder}.mask_tokens.weight": (4, 384)}
    shapes |= _kernel(f"{decoder}.output_upscaling.0", 384, 96, 2, 2, 2, bias=96)
    shapes |= _norm(f"{decoder}.output_upscaling.1", 96)
    shapes |= _kernel(f"{decoder}.output_upscaling.3", 96, 48, 2, 2, 2, bias=48)
    heads = {f"output_hypernetworks_mlps.{n}": (384, 384, 384, 48) for n in range(4)}
    for head, widths in (heads | {"iou_prediction_head": (384, 256, 256, 4)}).items():
        for n in range(3):
            shapes |= _dense(f"{decoder}.{head}.layers.{n}", widths[n], widths[n + 1])
    return shapes


def test_every_tensor_of_the_published_file_has_its_place():
    with torch.device("meta"):
        state = FAMILY.variants["sam-med3d-turbo"]().state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == published_shapes()
    assert sum(tensor.numel() for tensor in state.values()) == 100_509_616  # 402 MB in float32, as the file is


def test_names_are_taken_as_the_file_has_them():
    shapes = published_shapes()
    assert FAMILY.rename(shapes) == shapes


# -- attention ----------------------------------------------------------------------------------------------------


def plain_attention(attention, block):
    """The published attention of one block (d, h, w, width), filled up with zeros, cell by cell."""
    reach, heads = attention.reach, attention.heads
    sides, width = block.shape[:3], block.shape[3]
    whole = torch.zeros(reach, reach, reach, width)
    whole[: sides[0], : sides[1], : sides[2]] = block
    q, k, v = attention.qkv(whole).reshape(reach, reach, reach, 3, heads, width // heads).unbind(3)
    out = torch.zeros(*sides, heads, width // heads)
    cells = list(product(range(reach), repeat=3))
    tables = attention.rel_pos_d, attention.rel_pos_h, attention.rel_pos_w
    for d, h, w in product(*map(range, sides)):
        for head in range(heads):
            mine, logits = q[d, h, w, head], []
            for e, i, j in cells:
                far = mine @ k[e, i, j, head] / math.sqrt(width // heads)
                # The axes of the second and third term are crossed in the published definition.
                far = far + mine @ tables[0][d - j + reach - 1]
                far = far + q[d, h, e, head] @ tables[1][h - j + reach - 1]
                logits.append(far + q[d, h, i, head] @ tables[2][i - j + reach - 1])
            weights = torch.stack(logits).softmax(0)
            out[d, h, w, head] = sum(weight * v[cell][head] for weight, cell in zip(weights, cells, strict=True))
    return attention.proj(out.flatten(3))


@pytest.mark.parametrize("sides", [(3, 3, 3), (2, 2, 2), (1, 3, 2), (3, 1, 3), (3, 3, 1)])
@torch.inference_mode()
def test_attention_is_as_published_in_whole_and_in_filled_up_blocks(sides):
    attention = randomise(Attention(8, 2, 3))
    block = torch.randn(*sides, 8, generator=torch.Generator().manual_seed(1))
    wanted, found = plain_attention(attention, block), attention(block[None])[0]
    assert wanted.std() > 0.05
    assert (found - wanted).abs().max() <= CLOSE


@torch.inference_mode()
def test_a_layer_attends_within_windows_that_begin_at_the_grid_s_corner():
    block = randomise(Block(8, 2, 2))
    cells = torch.randn(1, 3, 3, 3, 8, generator=torch.Generator().manual_seed(1))
    normed = functional.layer_norm(cells, (8,), block.norm1.weight, block.norm1.bias, 1e-6)
    attended = torch.zeros_like(cells)
    for d, h, w in product((0, 2), repeat=3):
        here = (0, slice(d, d + 2), slice(h, h + 2), slice(w, w + 2))
        attended[here] = plain_attention(block.attn, normed[here])
    cells_then = cells + attended
    normed = functional.layer_norm(cells_then, (8,), block.norm2.weight, block.norm2.bias, 1e-6)
    hidden = functional.gelu(normed @ block.mlp.lin1.weight.T + block.mlp.lin1.bias)
    wanted = cells_then + hidden @ block.mlp.lin2.weight.T + block.mlp.lin2.bias
    assert (block(cells) - wanted).abs().max() <= CLOSE


# -- prompts and masks, from the tensors alone --------------------------------------------------------------------


@functools.cache
def network():
    return randomise(SamMed3D(SMALL))


class Plain:
    """The published prompt encoder and mask decoder, computed from a state dict."""

    def __init__(self, state, side, heads):
        self.state, self.side, self.heads = state, side, heads

    def dense(self, name, x):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, name, x):
        return functional.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], 1e-5)

    def channel_norm(self, name, x):
        mean = x.mean(1, keepdim=True)
        scaled = (x - mean) / torch.sqrt((x - mean).square().mean(1, keepdim=True) + 1e-6)
        return (scaled.movedim(1, -1) * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]).movedim(-1, 1)

    def place(self, x, y, z):
        """Features of a place in [0, 1]."""
        frequencies = self.state["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
        angles = 2 * math.pi * (2 * torch.tensor([x, y, z]) - 1) @ frequencies
        return torch.cat([angles.sin(), angles.cos(), angles.sin()])

    def tokens(self, clicks):
        said = [
            self.place(*((c + 0.5) / self.side for c in place))
            + self.state[f"prompt_encoder.point_embeddings.{label}.weight"][0]
            for place, label in clicks
        ]
        return torch.stack([*said, self.state["prompt_encoder.not_a_point_embed.weight"][0]])

    def mask(self, mask):
        part, state = "prompt_encoder.mask_downscaling", self.state
        for conv in (0, 3):
            mask = functional.conv3d(mask, state[f"{part}.{conv}.weight"], state[f"{part}.{conv}.bias"], stride=2)
            mask = functional.gelu(self.channel_norm(f"{part}.{conv + 1}", mask))
        return functional.conv3d(mask, state[f"{part}.6.weight"], state[f"{part}.6.bias"])

    def attend(self, name, q, k, v):
        q, k, v = (self.dense(f"{name}.{part}_proj", x) for part, x in zip("qkv", (q, k, v), strict=True))
        size = q.shape[1] // self.heads
        parts = [slice(size * n, size * (n + 1)) for n in range(self.heads)]
        out = [(q[:, part] @ k[:, part].T / math.sqrt(size)).softmax(1) @ v[:, part] for part in parts]
        return self.dense(f"{name}.out_proj", torch.cat(out, dim=1))

    def layer(self, name, tokens, cells, asked, places, *, first):
        own = tokens if first else tokens + asked
        attended = self.attend(f"{name}.self_attn", own, own, tokens)
        tokens = self.norm(f"{name}.norm1", attended if first else tokens + attended)
        look = self.attend(f"{name}.cross_attn_token_to_image", tokens + asked, cells + places, cells)
        tokens = self.norm(f"{name}.norm2", tokens + look)
        hidden = self.dense(f"{name}.mlp.lin1", tokens).relu()
        tokens = self.norm(f"{name}.norm3", tokens + self.dense(f"{name}.mlp.lin2", hidden))
        look = self.attend(f"{name}.cross_attn_image_to_token", cells + places, tokens + asked, tokens)
        return tokens, self.norm(f"{name}.norm4", cells + look)

    def perceptron(self, name, x):
        for n in range(2):
            x = self.dense(f"{name}.layers.{n}", x).relu()
        return self.dense(f"{name}.layers.2", x)

    def decode(self, features, clicks, mask):
        grid, state, decoder = features.shape[2], self.state, "mask_decoder"
        centres = [(n + 0.5) / grid for n in range(grid)]
        # The image's first two axes are exchanged in the features of its places.
        places = torch.stack([self.place(h, d, w) for d, h, w in product(centres, repeat=3)])
        cells = (features + self.mask(mask))[0].flatten(1).T
        own = [state[f"{decoder}.iou_token.weight"], state[f"{decoder}.mask_tokens.weight"]]
        asked = torch.cat([*own, *([self.tokens(clicks)] if clicks else [])])
        tokens = asked
        for n in (0, 1):
            tokens, cells = self.layer(f"{decoder}.transformer.layers.{n}", tokens, cells, asked, places, first=n == 0)
        last = f"{decoder}.transformer.final_attn_token_to_image"
        tokens = tokens + self.attend(last, tokens + asked, cells + places, cells)
        tokens = self.norm(f"{decoder}.transformer.norm_final_attn", tokens)
        up, fine = f"{decoder}.output_upscaling", cells.T.reshape(features.shape)
        fine = functional.conv_transpose3d(fine, state[f"{up}.0.weight"], state[f"{up}.0.bias"], stride=2)
        fine = functional.gelu(self.channel_norm(f"{up}.1", fine))
        fine = functional.gelu(
            functional.conv_transpose3d(fine, state[f"{up}.3.weight"], state[f"{up}.3.bias"], stride=2)
        )[0]
        heads = [self.perceptron(f"{decoder}.output_hypernetworks_mlps.{n}", tokens[1 + n]) for n in range(4)]
        logits = torch.stack([(head[:, None, None, None] * fine).sum(0) for head in heads])
        return logits, self.perceptron(f"{decoder}.iou_prediction_head", tokens[0])


CLICKS = {
    "no click": [],
    "one click": [((3.0, 40.0, 17.0), 1)],
    "clicks": [((3.0, 40.0, 17.0), 1), ((30.0, 5.0, 44.5), 0), ((0.0, 0.0, 47.0), 1)],
}


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("name", CLICKS)
@torch.inference_mode()
def test_masks_are_as_published(name, with_mask):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(1, 48, 3, 3, 3, generator=generator)
    mask = 5 * torch.randn(1, 1, 12, 12, 12, generator=generator) * with_mask
    clicks = CLICKS[name]
    logits, iou = Plain(network().state_dict(), 48, 8).decode(features, clicks, mask)
    coords = torch.tensor([place for place, _ in clicks]).reshape(1, -1, 3)
    labels = torch.tensor([label for _, label in clicks], dtype=torch.int64)[None]
    found, judged = network().decode(features, coords, labels, mask)
    assert logits.std() > 0.05
    assert (found[0] - logits).abs().max() <= CLOSE
    assert (judged[0] - iou).abs().max() <= CLOSE


@torch.inference_mode()
def test_a_window_goes_through_patches_layers_and_neck():
    module = network()
    state, encoder = module.state_dict(), module.image_encoder
    window = torch.randn(1, 1, 48, 48, 48, generator=torch.Generator().manual_seed(1))
    weight, bias = (state[f"image_encoder.patch_embed.proj.{part}"] for part in ("weight", "bias"))
    cells = torch.empty(1, 3, 3, 3, SMALL.width)
    for d, h, w in product(range(3), repeat=3):
        patch = window[0, 0, 16 * d : 16 * d + 16, 16 * h : 16 * h + 16, 16 * w : 16 * w + 16]
        cells[0, d, h, w] = (weight[:, 0] * patch).sum((1, 2, 3)) + bias
    cells += state["image_encoder.pos_embed"]
    assert [block.window for block in encoder.blocks] == [2, 3]  # the second layer sees the whole grid
    for block in encoder.blocks:
        cells = block(cells)
    plain = Plain(state, 48, 8)
    fine = plain.channel_norm(
        "image_encoder.neck.1", functional.conv3d(cells.movedim(-1, 1), state["image_encoder.neck.0.weight"])
    )
    fine = functional.conv3d(fine, state["image_encoder.neck.2.weight"], padding=1)
    wanted = plain.channel_norm("image_encoder.neck.3", fine)
    assert (module.encode(window) - wanted).abs().max() <= CLOSE


def test_the_network_on_a_device_gives_mask_0():
    runner, generator = TorchNetwork(network(), "cpu"), torch.Generator().manual_seed(1)
    window, mask = (torch.randn(n, n, n, generator=generator) for n in (48, 12))
    coords, labels = torch.tensor([[3.0, 40.0, 17.0]]), torch.tensor([1])
    features = runner.from_arrays(runner.to_arrays(runner.encode(window.numpy())))
    found = runner.decode(features, coords.numpy(), labels.numpy(), mask.numpy())
    with torch.inference_mode():
        wanted = network().decode(network().encode(window[None, None]), coords[None], labels[None], mask[None, None])
    assert runner.side == 48
    with pytest.raises(CorruptFileError):
        runner.from_arrays({"window": np.zeros((1, 1, 3, 3, 3), np.float32)})
    assert found.shape == (12, 12, 12)
    assert abs(found - wanted[0][0, 0].numpy()).max() <= CLOSE


class Doubler(torch.nn.Module):
    """Makes features that float16 cannot hold if the window is glaring."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def encode(self, windows):
        product = windows @ (2 * torch.eye(windows.shape[-1]))
        self.seen.append(product.dtype)
        return product


def test_windows_that_overflow_in_float16_are_encoded_in_float32(monkeypatch):
    monkeypatch.setattr(torch_network, "half_precision", lambda _: torch.float16)
    runner = TorchNetwork(Doubler(), "cpu")
    for value in (3.0, 40_000.0, 40_000.0, 3.0):
        features = runner.encode(np.full((4, 4, 4), value, np.float32))["window"]
        assert features.dtype is torch.float32
        assert features.shape == (1, 1, 4, 4, 4)
        assert (features == 2 * value).all()
    half, full = torch.float16, torch.float32
    assert runner.module.seen == [half, half, full, half, full, full]
