"""SAM 2 gives what its own package gives for pictures, for the same weights."""

import functools
from unittest import mock

import numpy as np
import pytest
import torch
from tests.models.references import PROMPTS, asked, original
from tests.models.sam2.reference import CELLS, SIDE, module, official, reference

from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.models import sam2
from samaritan.models.family import Difference
from samaritan.models.planar import FrameSpec, Tokens
from samaritan.models.sam.upscale import to_map
from samaritan.models.sam2.keys import to_transformers

CLOSE = 1e-4
FRAME = FrameSpec(SIDE, fit="stretch", whole=False)


@functools.cache
def network():
    return sam2.network(module(), "cpu", side=SIDE)


def picture(width, height):
    rng = np.random.default_rng(width)
    array = rng.integers(0, 256, (3, width, height, 1)).astype(np.float32)
    return Image(array, Geometry.picture(width, height), channels=RGB)


def transformed(image):
    """Return what the package makes of a picture: a tensor in [0, 1], resized as torchvision does, normalised."""
    pixels = torch.from_numpy(image.array[..., 0].transpose(0, 2, 1) / np.float32(255))[None]
    pixels = torch.nn.functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (pixels - mean[:, None, None]) / std[:, None, None]


def predictor(image):
    with mock.patch.object(torch.jit, "script", lambda transforms: transforms):  # deprecated, and ours to replace
        theirs = original("sam2.sam2_image_predictor").SAM2ImagePredictor(reference())
    theirs._bb_feat_sizes = [(4 * CELLS, 4 * CELLS), (2 * CELLS, 2 * CELLS), (CELLS, CELLS)]
    theirs._transforms.to_tensor.forward = lambda _: transformed(image)[0]  # a stand-in, and so are its transforms
    theirs.set_image(np.zeros((image.shape[1], image.shape[0], 3), np.uint8))
    return theirs


@functools.cache
def encoded(size):
    image = picture(*size)
    return predictor(image), network().encode(FRAME.picture(image))


def test_pictures_are_prepared_the_same():
    for size in [(256, 256), (300, 517), (61, 47)]:
        image = picture(*size)
        np.testing.assert_allclose(FRAME.picture(image), transformed(image), atol=1e-4)


@pytest.mark.parametrize("size", [(256, 256), (256, 100), (300, 517), (61, 47)])
def test_embeddings_are_the_same(size):
    theirs, ours = encoded(size)
    fine, middle = theirs._features["high_res_feats"]
    finer = to_map(ours["middle"], CELLS, 1), to_map(ours["fine"], CELLS, 2)
    for found, wanted in zip((ours["embedding"], *finer), (theirs._features["image_embed"], middle, fine), strict=True):
        assert wanted.std() > 0.01
        assert (wanted - found).abs().max() <= CLOSE


@pytest.mark.parametrize("size", [(256, 100), (300, 517), (61, 47)])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", PROMPTS)
def test_masks_are_the_same(name, several, size):
    points, labels, box, _ = PROMPTS[name]
    theirs, features = encoded(size)
    low, scores, mask = asked(theirs, name, mask_side=4 * CELLS, several=several)
    coords = np.array([*points, *((box[:2], box[2:]) if box else ())], np.float32) * np.divide(SIDE, size)
    kinds = [*labels, *((2, 3) if box else ())]
    tokens = Tokens((coords + 0.5).astype(np.float32), np.array(kinds), mask)
    logits, iou = network().decode(features, tokens)
    kept = slice(1, None) if several else slice(0, 1)
    assert np.ptp(low) > 0.1
    np.testing.assert_allclose(logits[kept], low, atol=CLOSE)
    np.testing.assert_allclose(iou[kept], scores, atol=CLOSE)


@pytest.mark.parametrize(("spread", "taken"), [(0.04, "best"), (4.0, "first")])
def test_an_unstable_mask_gives_way_to_the_best_of_the_others(spread, taken):
    generator = torch.Generator().manual_seed(0)
    logits = spread * torch.randn((2, 4, 32, 32), generator=generator)
    logits[:, 0] = spread * torch.linspace(-1, 1, 32) if taken == "best" else 4.0
    iou = torch.rand((2, 4), generator=generator)
    theirs = reference().sam_mask_decoder._dynamic_multimask_via_stability(logits, iou)
    ours = sam2.decoder.settled(logits, iou)
    for wanted, found in zip(theirs, ours, strict=True):
        torch.testing.assert_close(found[:, :1], wanted)
    assert torch.equal(ours[0][:, 0], logits[:, 0]) == (taken == "first")


@pytest.mark.parametrize("name", sam2.FAMILY.variants)
def test_every_tensor_of_the_official_files_has_its_place(name, monkeypatch):
    found = to_transformers(official(name, monkeypatch))
    with torch.device("meta"):
        ours = sam2.FAMILY.variants[name]().state_dict()
    assert Difference.between(found, {name: tuple(tensor.shape) for name, tensor in ours.items()}).none
