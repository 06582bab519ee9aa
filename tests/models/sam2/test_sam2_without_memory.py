"""transformers' ``Sam2Model``, which is SAM 2 without its memory, is a model of pictures here and says the same."""

import functools

import numpy as np
import pytest
import torch
from safetensors.torch import load_file as read_tensors
from safetensors.torch import save_file
from tests.models.references import PROMPTS, randomise
from tests.models.sam2.reference import CELLS, SIDE, SMALL, make
from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2VisionConfig

from samaritan.cli._checkpoints import _told
from samaritan.core.errors import CheckpointMismatchError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.prompts import Point, Prompts
from samaritan.models import sam2
from samaritan.models.checkpoint import Checkpoint, read_checkpoint
from samaritan.models.family import recognise
from samaritan.models.inspection import inspect
from samaritan.models.planar import PlanarModel, Tokens
from samaritan.models.published import AmbiguousWeightsWarning, load_file, load_published
from samaritan.models.sam2.build import SIZES

CLOSE = 1e-4
# What the configurations on the hub say, where it is not transformers' default.
PUBLISHED = {
    "tiny": {},
    "small": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "base-plus": {
        "hidden_size": 112, "num_attention_heads": 2, "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 3, 16, 3], "global_attention_blocks": [12, 16, 20],
        "embed_dim_per_stage": [112, 224, 448, 896], "window_positional_embedding_background_size": [14, 14],
    },
    "large": {
        "hidden_size": 144, "num_attention_heads": 2, "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 6, 36, 4], "global_attention_blocks": [23, 33, 43],
        "embed_dim_per_stage": [144, 288, 576, 1152], "window_size_per_stage": [8, 4, 16, 8],
    },
}  # fmt: skip


def fine_tuned(size):
    """Return transformers' model as it comes from the hub, with first weights."""
    hiera = Sam2HieraDetConfig(**PUBLISHED[size])
    vision = Sam2VisionConfig(backbone_config=hiera, backbone_channel_list=hiera.embed_dim_per_stage[::-1])
    model = Sam2Model(Sam2Config(vision_config=vision))
    # Both place prompts; in what Meta published they are one.
    model.prompt_encoder.shared_embedding.load_state_dict(model.shared_image_embedding.state_dict())
    return model.eval()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fine-tuned")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fine_tuned("tiny").save_pretrained(folder)
    return folder / "model.safetensors"


def picture():
    array = np.random.default_rng(0).integers(0, 256, (3, 90, 61, 1)).astype(np.float32)
    return Image(array, Geometry.picture(90, 61), channels=RGB)


# -- what a file is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_known_by_its_tensors(size, tmp_path):
    with torch.device("meta"):
        tensors = fine_tuned(size).state_dict()
    found = recognise(Checkpoint(tmp_path / "renamed.bin", tensors, ""))
    assert (found.variant, found.difference.none, found.for_planes) == (f"sam2.1-{size}", True, True)


def test_a_file_with_the_memory_is_not_taken_for_one_without(tmp_path):
    for newer, name in ((True, "sam2.1-tiny"), (False, "sam2-tiny")):
        with torch.device("meta"):
            tensors = sam2.build(SIZES["tiny"], newer=newer).state_dict()
        found = recognise(Checkpoint(tmp_path / "renamed.bin", tensors, ""))
        assert (found.variant, found.difference.none, found.for_planes) == (name, True, False)


def test_a_part_of_the_memory_is_neither(tmp_path):
    with torch.device("meta"):
        tensors = sam2.build(SIZES["tiny"], newer=True).state_dict()
    del tensors["no_object_pointer"]
    found = recognise(Checkpoint(tmp_path / "renamed.bin", tensors, ""))
    assert (found.variant, found.difference.missing, found.for_planes) == ("sam2.1-tiny", ("no_object_pointer",), False)


def test_inspect_tells_of_models_of_pictures_alone(file):
    found = inspect(file)
    assert found.trouble is None
    assert found.others == ("medsam2",)
    assert found.to_dict()["nearest"]["for_planes"] is True
    assert "what it needs for pictures, without its memory" in _told(found)


# -- loading --------------------------------------------------------------------------------------------------------


def test_a_file_is_a_model_of_pictures(file):
    with pytest.warns(AmbiguousWeightsWarning, match=r"taken for sam2\.1-tiny, but has the tensors of medsam2 as well"):
        recognised = load_file(file, device="cpu")
    assert isinstance(recognised, PlanarModel)
    assert (recognised.card.name, recognised.card.licence) == ("sam2.1-tiny", "unknown")
    assert load_published("sam2-tiny", weights=file, device="cpu").card.name == "sam2-tiny"


@pytest.mark.slow
def test_it_says_what_a_file_says_that_has_the_memory_too(file, tmp_path):
    whole = sam2.build(SIZES["tiny"], newer=False).state_dict() | read_tensors(file)
    save_file(whole, tmp_path / "whole.safetensors")
    image = picture()
    prompts = Prompts(image.geometry, (Point((20, 30, 0)),))
    models = [
        load_published("sam2-tiny", weights=path, device="cpu") for path in (file, tmp_path / "whole.safetensors")
    ]
    found, wanted = (model.decode(model.embed(image), prompts) for model in models)
    assert np.ptp(wanted.logits) > 0
    np.testing.assert_array_equal(found.logits, wanted.logits)


def test_metas_form_without_the_memory_is_read_too(tmp_path):
    state = make(SIZES["tiny"], newer=True, side=1024).state_dict()
    kept = ("image_encoder.", "sam_prompt_encoder.", "sam_mask_decoder.", "no_mem_embed")
    torch.save({"model": {name: tensor for name, tensor in state.items() if name.startswith(kept)}}, tmp_path / "x.pt")
    found = recognise(read_checkpoint(tmp_path / "x.pt"))
    assert (found.variant, found.difference.none, found.for_planes) == ("sam2.1-tiny", True, True)


@pytest.mark.parametrize(
    ("name", "missing", "instead"),
    [
        ("sam2.1-tiny-volume", 160, "sam2.1-tiny"),
        ("sam2-tiny-volume", 157, "sam2-tiny"),
        ("medsam2-volume", 160, "medsam2"),
    ],
)
def test_models_of_volumes_say_what_is_missing_and_which_model_takes_it(file, name, missing, instead):
    with pytest.raises(CheckpointMismatchError) as told:
        load_published(name, weights=file, device="cpu")
    message = str(told.value)
    assert f"model.safetensors, which is for pictures alone: {missing} missing" in message
    assert "missing: mask_downsample.bias, mask_downsample.weight, memory_attention." in message
    assert f"all tensors of {name}, a model of volumes" in message
    assert f"--model {instead} --weights {file}" in message


def test_what_differs_is_told_by_what_pictures_need(file, tmp_path):
    tensors = read_tensors(file)
    del tensors["mask_decoder.conv_s0.bias"]
    save_file(tensors, tmp_path / "less.safetensors")
    with pytest.raises(CheckpointMismatchError, match=r"1 missing: mask_decoder\.conv_s0\.bias\. "):
        load_file(tmp_path / "less.safetensors", device="cpu")


# -- the same as transformers itself --------------------------------------------------------------------------------


@functools.cache
def reference():
    """Return transformers' model with a narrow encoder for small pictures, and random weights."""
    model = randomise(Sam2Model(sam2.build_for_planes(SMALL, side=SIDE).config))
    model.prompt_encoder.shared_embedding.load_state_dict(model.shared_image_embedding.state_dict())
    return model


@functools.cache
def network():
    """Return ours, with the reference's weights."""
    module = sam2.build_for_planes(SMALL, side=SIDE)
    module.load_state_dict(reference().state_dict(), strict=True)
    return sam2.network(module.eval(), "cpu", side=SIDE)


@functools.cache
def pixels():
    return torch.randn((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", PROMPTS)
@torch.no_grad()
def test_masks_are_those_of_transformers(name, several):
    points, labels, box, with_mask = PROMPTS[name]
    mask = np.random.default_rng(1).normal(0, 4, (4 * CELLS, 4 * CELLS)).astype(np.float32) if with_mask else None
    theirs = reference()(
        pixel_values=pixels(),
        input_points=torch.tensor([[points]]) if points else None,
        input_labels=torch.tensor([[labels]]) if points else None,
        input_boxes=torch.tensor([[box]]) if box else None,
        input_masks=None if mask is None else torch.tensor(mask)[None, None],
        multimask_output=several,
    )
    coords = np.array([*points, *((box[:2], box[2:]) if box else ())], np.float32) + np.float32(0.5)
    tokens = Tokens(coords, np.array([*labels, *((2, 3) if box else ())]), mask)
    logits, iou = network().decode(network().encode(pixels().numpy()), tokens)
    kept = slice(1, None) if several else slice(0, 1)
    wanted = theirs.pred_masks[0, 0].numpy()
    assert np.ptp(wanted) > 0.1
    np.testing.assert_allclose(logits[kept], wanted, atol=CLOSE)
    np.testing.assert_allclose(iou[kept], theirs.iou_scores[0, 0].numpy(), atol=CLOSE)
