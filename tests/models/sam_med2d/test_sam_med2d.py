"""SAM-Med2D is segment-anything's own network at 256 pixels, with adapters, asked as in its training.

Its repository cannot be installed. Its network is segment-anything's but for the adapters, which are restated here.
"""

import argparse
import functools

import numpy as np
import pytest
import torch
from tests.models.references import PROMPTS, original, randomise

from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.models import sam_med2d
from samaritan.models.checkpoint import read_checkpoint
from samaritan.models.family import Difference
from samaritan.models.planar import PlanarModel, Tokens
from samaritan.models.planar.network import BOX_START, BOX_STOP
from samaritan.models.published import published
from samaritan.models.sam_med2d.adapter import Adapter

WIDTH, DEPTH, HEADS = 96, 8, 3
SIDE, CELLS = 256, 16
CLOSE = 1e-4

# Of the adapter in each block, by its names in the official files.
ADAPTER = {
    "norm.weight": lambda c: (c,),
    "norm.bias": lambda c: (c,),
    "channel.0.weight": lambda c: (c // 4, c),
    "channel.2.weight": lambda c: (c, c // 4),
    "spatial.0.weight": lambda c: (c, c, 3, 3),
    "spatial.2.weight": lambda c: (c, c, 4, 4),
}


@pytest.fixture(autouse=True)
def _one_thread():
    """Small products wait longer for other threads than they take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def adapted(places, weights):
    """What an adapter makes of (n, rows, columns, c): its convolutions tap by tap."""
    weighed = (places.mean((1, 2)) @ weights["channel.0.weight"].T).relu() @ weights["channel.2.weight"].T
    weighed = places * weighed.sigmoid()[:, None, None]
    n, rows, columns, c = places.shape
    padded = torch.zeros(n, rows + 2, columns + 2, c)
    padded[:, 1:-1, 1:-1] = weighed
    half = torch.zeros(n, rows // 2, columns // 2, c)
    whole = torch.zeros(n, rows + 2, columns + 2, c)
    for y, x in np.ndindex(3, 3):
        half += padded[:, y : y + rows : 2, x : x + columns : 2] @ weights["spatial.0.weight"][..., y, x].T
    for y, x in np.ndindex(4, 4):
        whole[:, y : y + rows : 2, x : x + columns : 2] += half.relu() @ weights["spatial.2.weight"][..., y, x]
    total = places + whole[:, 1:-1, 1:-1].relu()
    apart = total - total.mean(-1, keepdim=True)
    normed = apart / (apart.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return normed * weights["norm.weight"] + weights["norm.bias"]


class Beside(torch.nn.Module):
    def __init__(self, mlp, weights):
        super().__init__()
        self.mlp, self.weights = mlp, weights

    def forward(self, places):
        return self.mlp(places) + adapted(places, self.weights)


def segment_anything(width, depth, heads):
    """segment-anything with an encoder of this size for pictures of 256 pixels."""
    modeling = original("segment_anything.modeling")
    norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
    encoder = modeling.ImageEncoderViT(
        depth=depth, embed_dim=width, num_heads=heads, img_size=SIDE, patch_size=16, mlp_ratio=4, norm_layer=norm,
        global_attn_indexes=[depth // 4 * n - 1 for n in (1, 2, 3, 4)], qkv_bias=True, use_rel_pos=True,
        window_size=14, out_chans=256,
    )  # fmt: skip
    prompt = modeling.PromptEncoder(
        embed_dim=256, image_embedding_size=(CELLS, CELLS), input_image_size=(SIDE, SIDE), mask_in_chans=16
    )
    decoder = modeling.MaskDecoder(
        num_multimask_outputs=3, transformer_dim=256, iou_head_depth=3, iou_head_hidden_dim=256,
        transformer=modeling.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
    )  # fmt: skip
    return modeling.Sam(encoder, prompt, decoder)


def adapters(width, depth):
    """Random weights of all adapters by their names in the official files."""
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for number, (name, shape) in ((n, item) for n in range(depth) for item in ADAPTER.items()):
        drawn = torch.randn(shape(width), generator=generator)
        scaled = drawn / drawn[0].numel() ** 0.5 if drawn.ndim > 1 else 1 + 0.1 * drawn
        weights[f"image_encoder.blocks.{number}.Adapter.{name}"] = scaled
    return weights


@functools.cache
def reference(with_adapters):
    """The network as the official repository has it, small and with random weights, and its ``state_dict``."""
    theirs = randomise(segment_anything(WIDTH, DEPTH, HEADS))
    state = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    if with_adapters:
        state |= adapters(WIDTH, DEPTH)
        for number, block in enumerate(theirs.image_encoder.blocks):
            own = {name: state[f"image_encoder.blocks.{number}.Adapter.{name}"] for name in ADAPTER}
            block.mlp = Beside(block.mlp, own)
    return theirs, state


@functools.cache
def network(with_adapters):
    module = sam_med2d.build(WIDTH, DEPTH, HEADS, adapters=with_adapters)
    module.load_state_dict(sam_med2d.rename(reference(with_adapters)[1]), strict=True)
    return sam_med2d.network(module, "cpu")


def picture(width=SIDE, height=SIDE):
    array = np.random.default_rng(width).integers(0, 256, (3, width, height, 1)).astype(np.float32)
    return Image(array, Geometry.picture(width, height), channels=RGB)


@functools.cache
@torch.no_grad()
def encoded(with_adapters):
    """The embedding of a picture that needs no resizing, of theirs and of ours."""
    image, theirs = picture(), reference(with_adapters)[0]
    pixels = torch.from_numpy(image.array[::-1, ..., 0].transpose(0, 2, 1).copy())[None]  # as OpenCV reads: blue first
    given = (pixels - theirs.pixel_mean) / theirs.pixel_std
    return theirs.image_encoder(given), network(with_adapters).encode(sam_med2d.FAMILY.frame.picture(image))


@torch.no_grad()
def test_the_adapter_does_what_its_paper_says():
    weights = {name.rpartition("Adapter.")[2]: weight for name, weight in adapters(24, 1).items()}
    ours = Adapter(24)
    ours.load_state_dict(weights, strict=True)
    places = torch.randn(2, 6, 10, 24, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(ours(places), adapted(places, weights), atol=1e-5, rtol=0)


@pytest.mark.parametrize("with_adapters", [True, False])
def test_embeddings_are_the_same(with_adapters):
    theirs, ours = encoded(with_adapters)
    assert theirs.std() > 0.01
    assert (theirs - ours["embedding"]).abs().max() <= CLOSE


def test_adapters_change_the_embedding():
    assert (encoded(True)[0] - encoded(False)[0]).abs().max() > 0.1


@pytest.mark.parametrize("name", PROMPTS)
@torch.no_grad()
def test_the_best_of_three_masks_is_taken_as_in_training(name):
    points, labels, box, with_mask = PROMPTS[name]
    theirs, (embedding, features) = reference(True)[0], encoded(True)
    mask = np.random.default_rng(1).normal(0, 4, (4 * CELLS, 4 * CELLS)).astype(np.float32) if with_mask else None
    # Pixels of the frame; a box ends behind its last one. An earlier mask is one of probabilities.
    sparse, dense = theirs.prompt_encoder(
        points=(torch.tensor([points]), torch.tensor([labels])) if points else None,
        boxes=torch.tensor([[*box[:2], box[2] + 1, box[3] + 1]]) if box else None,
        masks=None if mask is None else torch.from_numpy(mask).sigmoid()[None, None],
    )
    places = theirs.prompt_encoder.get_dense_pe()
    low, scores = theirs.mask_decoder(embedding, places, sparse, dense, multimask_output=True)
    coords = [*points, *((box[:2], box[2:]) if box else ((-0.5, -0.5),))]
    kinds = [*labels, *((BOX_START, BOX_STOP) if box else (-1,))]
    tokens = Tokens(np.array(coords, np.float32) + np.float32(0.5), np.array(kinds), mask)
    logits, iou = network(True).decode(features, tokens)
    best = int(scores.argmax())
    assert np.ptp(low.numpy()) > 0.1
    np.testing.assert_allclose(logits, low[0, [best, 0, 1, 2]], atol=CLOSE)
    np.testing.assert_allclose(iou, scores[0, [best, 0, 1, 2]], atol=CLOSE)


@pytest.mark.parametrize("variant", ["sam-med2d", "sam-med2d-ft"])
def test_every_tensor_of_the_official_files_has_its_place(variant):
    with torch.device("meta"):
        official = {name: tuple(tensor.shape) for name, tensor in segment_anything(768, 12, 12).state_dict().items()}
        ours = sam_med2d.FAMILY.variants[variant]().state_dict()
    if variant == "sam-med2d":
        official |= {
            f"image_encoder.blocks.{number}.Adapter.{name}": shape(768)
            for number in range(12)
            for name, shape in ADAPTER.items()
        }
    wanted = {name: tuple(tensor.shape) for name, tensor in ours.items()}
    assert Difference.between(sam_med2d.rename(official), wanted).none


@pytest.mark.parametrize("with_adapters", [True, False])
def test_files_by_our_names_are_read_too(with_adapters):
    ours = sam_med2d.rename(reference(with_adapters)[1])
    assert sam_med2d.rename(ours).keys() == ours.keys()


def test_a_file_with_an_optimizer_beside_the_weights_is_read(tmp_path):
    state = reference(True)[1]
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
    content = {"model": state, "optimizer": optimizer.state_dict(), "args": argparse.Namespace(image_size=SIDE)}
    torch.save(content, tmp_path / "any.pth")
    found = read_checkpoint(tmp_path / "any.pth")
    assert found.tensors.keys() == state.keys()


def test_a_box_gets_the_best_mask_and_a_click_three():
    model = PlanarModel(published("sam-med2d").card, network(True), sam_med2d.FAMILY.frame)
    image = picture(90, 61)
    embedding = model.embed(image)
    one = model.decode(embedding, Prompts(image.geometry, (Box((10, 20, 0), (50, 55, 1)),)))
    three = model.decode(embedding, Prompts(image.geometry, (Point((20, 30, 0)),)))
    assert one.logits.shape == (1, 90, 61, 1)
    assert three.logits.shape == (3, 90, 61, 1)


@torch.no_grad()
def test_its_decoder_is_traced_for_any_number_of_prompts():
    prompts, tokens = torch.export.Dim("prompts"), torch.export.Dim("tokens")
    decoder, side = network(True).decoder, 4 * CELLS

    def asked(p, n):
        rng = torch.Generator().manual_seed(p)
        coords, labels = 256 * torch.rand(p, n, 2, generator=rng), torch.ones(p, n, dtype=torch.int64)
        return encoded(True)[0], coords, labels, torch.randn(p, 1, side, side, generator=rng), torch.ones(p)

    shapes = ({}, {0: prompts, 1: tokens}, {0: prompts, 1: tokens}, {0: prompts}, {0: prompts})
    program = torch.export.export(decoder, asked(2, 3), dynamic_shapes=shapes).module()
    for found, wanted in zip(program(*asked(1, 5)), decoder(*asked(1, 5)), strict=True):
        torch.testing.assert_close(found, wanted, atol=CLOSE, rtol=0)
