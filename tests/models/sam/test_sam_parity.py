"""The SAM family gives what segment-anything itself gives, for the same weights."""

import functools

import numpy as np
import pytest
import torch
from tests.models.references import original, randomise

from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.models import sam
from samaritan.models.checkpoint import read_checkpoint
from samaritan.models.family import Difference
from samaritan.models.planar import FrameSpec, Tokens
from samaritan.models.sam.keys import to_transformers

WIDTH, DEPTH, HEADS = 192, 8, 3
SIDE = 256
CELLS = SIDE // 16
CLOSE = 1e-4


@functools.cache
def reference():
    """segment-anything with a small encoder for small pictures, and random weights."""
    modeling = original("segment_anything.modeling")
    norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
    encoder = modeling.ImageEncoderViT(
        depth=DEPTH, embed_dim=WIDTH, num_heads=HEADS, global_attn_indexes=[1, 3, 5, 7], img_size=SIDE, patch_size=16,
        mlp_ratio=4, norm_layer=norm, qkv_bias=True, use_rel_pos=True, window_size=14, out_chans=256,
    )  # fmt: skip
    prompt = modeling.PromptEncoder(
        embed_dim=256, image_embedding_size=(CELLS, CELLS), input_image_size=(SIDE, SIDE), mask_in_chans=16
    )
    decoder = modeling.MaskDecoder(
        num_multimask_outputs=3, transformer_dim=256, iou_head_depth=3, iou_head_hidden_dim=256,
        transformer=modeling.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
    )  # fmt: skip
    return randomise(modeling.Sam(encoder, prompt, decoder))


@functools.cache
def network():
    """Ours, with the reference's weights."""
    module = sam.build(WIDTH, DEPTH, HEADS, side=SIDE)
    module.load_state_dict(to_transformers(reference().state_dict()), strict=True)
    return sam.network(module, "cpu")


def picture(width, height):
    rng = np.random.default_rng(width)
    array = rng.integers(0, 256, (3, width, height, 1)).astype(np.float32)
    return Image(array, Geometry.picture(width, height), channels=RGB)


def predictor(image):
    theirs = original("segment_anything").SamPredictor(reference())
    theirs.set_image(image.array[..., 0].astype(np.uint8).T)
    return theirs


@functools.cache
def encoded(size):
    image = picture(*size)
    return predictor(image), network().encode(FrameSpec(SIDE).picture(image))


@pytest.mark.parametrize("size", [(256, 256), (256, 100), (90, 256), (300, 517), (61, 47)])
def test_embeddings_are_the_same(size):
    theirs, ours = encoded(size)
    apart = (theirs.features - ours["embedding"]).abs().max()
    assert theirs.features.std() > 0.01
    assert apart <= CLOSE


PROMPTS = {
    "point": ([(30.0, 40.0)], [1], None, False),
    "points": ([(30.0, 40.0), (60.0, 20.0), (10.0, 80.0)], [1, 0, 1], None, False),
    "box": ([], [], (20.0, 30.0, 80.0, 90.0), False),
    "box and points": ([(30.0, 40.0), (22.0, 33.0)], [1, 0], (20.0, 30.0, 80.0, 90.0), False),
    "mask": ([(30.0, 40.0)], [1], None, True),
    "box and mask": ([], [], (20.0, 30.0, 80.0, 90.0), True),
}


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", PROMPTS)
def test_masks_are_the_same(name, several):
    points, labels, box, with_mask = PROMPTS[name]
    theirs, features = encoded((256, 100))
    mask = np.random.default_rng(1).normal(0, 4, (1, 4 * CELLS, 4 * CELLS)).astype(np.float32) if with_mask else None
    _, scores, low = theirs.predict(
        point_coords=np.array(points) if points else None,
        point_labels=np.array(labels) if points else None,
        box=np.array(box) if box else None,
        mask_input=mask,
        multimask_output=several,
    )
    coords = [*points, *((box[:2], box[2:]) if box else ((-0.5, -0.5),))]
    kinds = [*labels, *((2, 3) if box else (-1,))]
    tokens = Tokens(np.array(coords, np.float32) + np.float32(0.5), np.array(kinds), None if mask is None else mask[0])
    logits, iou = network().decode(features, tokens)
    kept = slice(1, None) if several else slice(0, 1)
    assert np.ptp(low) > 0.1
    np.testing.assert_allclose(logits[kept], low, atol=CLOSE)
    np.testing.assert_allclose(iou[kept], scores, atol=CLOSE)


@pytest.mark.parametrize("size", ["vit_b", "vit_l", "vit_h"])
def test_every_tensor_of_the_official_files_has_its_place(size):
    with torch.device("meta"):
        official = original("segment_anything").sam_model_registry[size]().state_dict()
        ours = sam.FAMILY.variants[f"sam-{size.replace('_', '-')}"]().state_dict()
    found = {name: tuple(tensor.shape) for name, tensor in to_transformers(official).items()}
    assert Difference.between(found, {name: tuple(tensor.shape) for name, tensor in ours.items()}).none


def test_the_official_file_format_is_read(tmp_path):
    torch.save(reference().state_dict(), tmp_path / "sam.pth")
    checkpoint = read_checkpoint(tmp_path / "sam.pth")
    assert checkpoint.shapes == {name: tuple(tensor.shape) for name, tensor in reference().state_dict().items()}
