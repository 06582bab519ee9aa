"""SAM 3's tracker gives what transformers gives for pictures, for the same weights.

But for what says that nothing is remembered of other frames: transformers' model for pictures (5.24) adds that to a map
that nobody uses, where its model for videos, and Meta's predictor, add it to the embedding.
"""

import functools

import numpy as np
import pytest
import torch
from tests.models.references import PROMPTS
from tests.models.sam3.reference import CELLS, SIDE, their_tracker
from torch.nn import functional

from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.models.planar import FrameSpec, Tokens
from samaritan.models.published import load_published
from samaritan.models.sam.upscale import to_map
from samaritan.testing.conformance import UNTRAINED_MODEL_CHECKS

CLOSE = 1e-4
FRAME = FrameSpec(SIDE, fit="stretch", values="signed")


@pytest.fixture
def model(narrow):
    return loaded()


@functools.cache
def loaded():
    return load_published("sam3", device="cpu")


def picture(width, height):
    array = np.random.default_rng(width).integers(0, 256, (3, width, height, 1)).astype(np.float32)
    return Image(array, Geometry.picture(width, height), channels=RGB)


def transformed(image):
    """Return what transformers makes of a picture: whole values resized as torchvision does, less .5, by .5."""
    pixels = torch.from_numpy(image.array[..., 0].transpose(0, 2, 1).copy())[None]
    pixels = functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)
    return (pixels.round() / 255 - 0.5) / 0.5


def encoded(folder, prepared):
    """Return transformers' maps, fine to coarse."""
    theirs = their_tracker(folder)
    with torch.no_grad():
        fine, middle, coarse = theirs.get_image_embeddings(torch.from_numpy(prepared))
        return fine, middle, coarse + theirs.no_memory_embedding.reshape(1, -1, 1, 1)


def test_pictures_are_prepared_the_same():
    for size in [(SIDE, SIDE), (300, 217), (61, 47)]:
        image = picture(*size)
        apart = np.abs(FRAME.picture(image) - transformed(image).numpy())
        assert apart.max() <= 1.01 * 2 / 255  # Pillow and PyTorch may round a value to either side
        assert apart.mean() <= 0.2 * 2 / 255


@pytest.mark.parametrize("size", [(SIDE, SIDE), (300, 217)])
def test_embeddings_are_the_same(folder, model, size):
    prepared = FRAME.picture(picture(*size))
    ours = model.network.encode(prepared)
    fine, middle, coarse = encoded(folder, prepared)
    finer = to_map(ours["middle"], CELLS, 1), to_map(ours["fine"], CELLS, 2)
    for found, wanted in zip((ours["embedding"], *finer), (coarse, middle, fine), strict=True):
        assert wanted.std() > 0.01
        assert (wanted - found).abs().max() <= CLOSE


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", PROMPTS)
def test_masks_are_the_same(folder, model, name, several):
    points, labels, box, with_mask = PROMPTS[name]
    prepared = FRAME.picture(picture(90, 70))
    mask = np.random.default_rng(1).normal(0, 4, (4 * CELLS, 4 * CELLS)).astype(np.float32) if with_mask else None
    with torch.no_grad():
        theirs = their_tracker(folder)(
            image_embeddings=encoded(folder, prepared),
            input_points=torch.tensor([[points]]) if points else None,
            input_labels=torch.tensor([[labels]]) if points else None,
            input_boxes=torch.tensor([[box]]) if box else None,
            input_masks=None if mask is None else torch.from_numpy(mask)[None, None],
            multimask_output=several,
        )
    coords = np.array([*points, *((box[:2], box[2:]) if box else ())], np.float32) + np.float32(0.5)
    tokens = Tokens(coords, np.array([*labels, *((2, 3) if box else ())]), mask)
    logits, iou = model.network.decode(model.network.encode(prepared), tokens)
    kept = slice(1, None) if several else slice(0, 1)
    wanted = theirs.pred_masks[0, 0].numpy()
    assert np.ptp(wanted) > 0.1
    np.testing.assert_allclose(logits[kept], wanted, atol=CLOSE)
    np.testing.assert_allclose(iou[kept], theirs.iou_scores[0, 0], atol=CLOSE)


def test_prompts_of_a_picture_reach_the_network_where_they_are(folder, model):
    image = picture(224, 56)
    embedding = model.embed(image)
    box = model.decode(embedding, Prompts(image.geometry, (Box((40, 10, 0), (120, 50, 1)),)))
    # Centres of the first and last pixels, less the half pixel of the frame that transformers adds.
    corners = np.array([40.5 / 2, 10.5 * 2, 119.5 / 2, 49.5 * 2]) - 0.5
    with torch.no_grad():
        theirs = their_tracker(folder)(
            image_embeddings=encoded(folder, FRAME.picture(image)),
            input_boxes=torch.tensor(corners[None, None], dtype=torch.float32),
            multimask_output=False,
        )
    wanted = functional.interpolate(theirs.pred_masks[0], (56, 224), mode="bilinear")[0, 0].numpy().T
    np.testing.assert_allclose(box.logits[0, :, :, 0], wanted, atol=1e-3)
    assert len(model.decode(embedding, Prompts(image.geometry, (Point((80, 30, 0)),))).scores) == 3


@pytest.mark.parametrize("check", UNTRAINED_MODEL_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_conformance(model, check):
    check(model)
