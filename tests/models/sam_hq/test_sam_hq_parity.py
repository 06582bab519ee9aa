"""The SAM-HQ family gives what segment-anything-hq itself gives, for the same weights."""

import functools

import numpy as np
import pytest
import torch
from tests.models.references import PROMPTS, asked, original, randomise

from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.models import sam_hq
from samaritan.models.checkpoint import read_checkpoint
from samaritan.models.family import Difference
from samaritan.models.planar import FrameSpec, PlanarModel, Tokens
from samaritan.models.published import published
from samaritan.models.sam_hq.keys import to_transformers

WIDTH, DEPTH, HEADS = 96, 8, 3
SIDE = 256
CELLS = SIDE // 16
CLOSE = 1e-4
SIZES = ["vit_b", "vit_l", "vit_h"]


@pytest.fixture(autouse=True)
def _one_thread():
    """Small products wait longer for other threads than they take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def reference():
    """segment-anything-hq with a small encoder for small pictures, and random weights."""
    modeling = original("segment_anything_hq.modeling")
    norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
    encoder = modeling.ImageEncoderViT(
        depth=DEPTH, embed_dim=WIDTH, num_heads=HEADS, global_attn_indexes=[1, 3, 5, 7], img_size=SIDE, patch_size=16,
        mlp_ratio=4, norm_layer=norm, qkv_bias=True, use_rel_pos=True, window_size=14, out_chans=256,
    )  # fmt: skip
    prompt = modeling.PromptEncoder(
        embed_dim=256, image_embedding_size=(CELLS, CELLS), input_image_size=(SIDE, SIDE), mask_in_chans=16
    )
    decoder = modeling.MaskDecoderHQ(
        num_multimask_outputs=3, transformer_dim=256, iou_head_depth=3, iou_head_hidden_dim=256, vit_dim=WIDTH,
        transformer=modeling.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
    )  # fmt: skip
    return randomise(modeling.Sam(encoder, prompt, decoder))


@functools.cache
def network():
    """Ours, with the reference's weights."""
    module = sam_hq.build(WIDTH, DEPTH, HEADS, side=SIDE)
    module.load_state_dict(to_transformers(reference().state_dict()), strict=True)
    return sam_hq.network(module, "cpu")


def picture(width, height):
    rng = np.random.default_rng(width)
    array = rng.integers(0, 256, (3, width, height, 1)).astype(np.float32)
    return Image(array, Geometry.picture(width, height), channels=RGB)


def predictor(image):
    theirs = original("segment_anything_hq").SamPredictor(reference())
    theirs.set_image(image.array[..., 0].astype(np.uint8).T)
    return theirs


@functools.cache
def encoded(size):
    image = picture(*size)
    return predictor(image), network().encode(FrameSpec(SIDE).picture(image))


@pytest.mark.parametrize("size", [(256, 256), (256, 100), (90, 256), (300, 517), (61, 47)])
@torch.no_grad()
def test_embeddings_and_details_are_the_same(size):
    theirs, ours = encoded(size)
    decoder = reference().mask_decoder
    early = theirs.interm_features[0].permute(0, 3, 1, 2)
    details = decoder.embedding_encoder(theirs.features) + decoder.compress_vit_feat(early)
    for wanted, found in ((theirs.features, ours["embedding"]), (details, ours["details"])):
        assert wanted.std() > 0.01
        assert (wanted - found).abs().max() <= CLOSE


def both(name, size, *, several):
    """What theirs gives, one mask in any case, and what ours gives: logits and scores of each."""
    points, labels, box, _ = PROMPTS[name]
    theirs, features = encoded(size)
    low, scores, mask = asked(theirs, name, mask_side=4 * CELLS, several=several)
    coords = np.array([*points, *((box[:2], box[2:]) if box else ((-0.5, -0.5),))])
    kinds = [*labels, *((2, 3) if box else (-1,))]
    placed = (theirs.transform.apply_coords(coords, size[::-1]) + 0.5).astype(np.float32)
    tokens = Tokens(placed, np.array(kinds), mask)
    return (low, scores), network().decode(features, tokens)


@pytest.mark.parametrize("size", [(256, 100), (300, 517), (61, 47)])
@pytest.mark.parametrize("name", PROMPTS)
def test_mask_0_is_the_one_that_the_original_gives_if_asked_for_one(name, size):
    (low, scores), (logits, iou) = both(name, size, several=False)
    assert np.ptp(low) > 0.1
    np.testing.assert_allclose(logits[:1], low, atol=CLOSE)
    np.testing.assert_allclose(iou[:1], scores, atol=CLOSE)


@pytest.mark.parametrize("size", [(256, 100), (300, 517), (61, 47)])
@pytest.mark.parametrize("name", PROMPTS)
def test_the_best_of_the_others_is_the_one_that_the_original_gives_if_asked_for_several(name, size):
    (low, scores), (logits, iou) = both(name, size, several=True)
    best = 1 + iou[1:].argmax()
    assert len(low) == 1
    np.testing.assert_allclose(logits[best : best + 1], low, atol=CLOSE)
    np.testing.assert_allclose(iou[best : best + 1], scores, atol=CLOSE)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
@torch.no_grad()
def test_the_fine_mask_is_added_to_every_one(number):
    theirs, features = encoded((256, 100))
    coords, labels = torch.tensor([[[70.0, 33.0]]]), torch.tensor([[1]])
    sparse, dense = reference().prompt_encoder((coords, labels), None, None)
    early = theirs.interm_features[0].permute(0, 3, 1, 2)
    decoder = reference().mask_decoder
    masks, _ = decoder.predict_masks(
        theirs.features, reference().prompt_encoder.get_dense_pe(), sparse, dense,
        decoder.embedding_encoder(theirs.features) + decoder.compress_vit_feat(early),
    )  # fmt: skip
    tokens = Tokens(np.array([[70.5, 33.5], [0, 0]], np.float32), np.array([1, -1]))
    logits, _ = network().decode(features, tokens)
    assert masks[0, 4].std() > 0.1
    np.testing.assert_allclose(logits[number], masks[0, number] + masks[0, 4], atol=CLOSE)


@functools.cache
def official(size):
    with torch.device("meta"):
        return original("segment_anything_hq").sam_model_registry[size]().state_dict()


@pytest.mark.parametrize("size", SIZES)
def test_every_tensor_of_the_official_files_has_its_place(size):
    with torch.device("meta"):
        ours = sam_hq.FAMILY.variants[f"sam-hq-{size.replace('_', '-')}"]().state_dict()
    found = {name: tuple(tensor.shape) for name, tensor in to_transformers(official(size)).items()}
    assert Difference.between(found, {name: tuple(tensor.shape) for name, tensor in ours.items()}).none


def test_a_file_by_transformers_names_stays_as_it_is():
    tensors = sam_hq.build(WIDTH, DEPTH, HEADS, side=SIDE).state_dict()
    assert to_transformers(tensors).keys() == tensors.keys()


def test_the_official_file_format_is_read(tmp_path):
    torch.save(reference().state_dict(), tmp_path / "sam_hq.pth")
    checkpoint = read_checkpoint(tmp_path / "sam_hq.pth")
    assert checkpoint.shapes == {name: tuple(tensor.shape) for name, tensor in reference().state_dict().items()}


def test_an_embedding_is_kept_and_found_again():
    model = PlanarModel(published("sam-hq-vit-b").card, network(), FrameSpec(SIDE))
    image = picture(90, 61)
    embedding = model.embed(image)
    kept = model.unpack(model.pack(embedding), image.geometry)
    prompts = Prompts(image.geometry, (Box((10, 20, 0), (50, 55, 1)), Point((20, 30, 0))))
    np.testing.assert_array_equal(model.decode(kept, prompts).logits, model.decode(embedding, prompts).logits)
    assert embedding.nbytes == 4 * (256 * CELLS**2 + 32 * (4 * CELLS) ** 2)
