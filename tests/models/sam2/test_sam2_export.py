"""SAM 2 exported for pictures says what it says in PyTorch."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from tests.models.references import randomise
from tests.models.sam2.reference import SMALL

from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.model import decode_all
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.models import sam2
from samaritan.models.bundle import load_bundle
from samaritan.models.export import export
from samaritan.models.planar import FrameSpec, PlanarModel
from samaritan.models.published import published

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("export-sam2"),
]  # one process makes the graphs: see tests/models/test_export.py

SIDE = 64


@pytest.fixture(scope="module")
def image():
    array = np.random.default_rng(0).integers(0, 256, (3, 90, 61, 1)).astype(np.float32)
    return Image(array, Geometry.picture(90, 61), channels=RGB)


@pytest.fixture(scope="module")
def model():
    module = randomise(sam2.build(SMALL, newer=True, side=SIDE))
    # One layer of two: graphs are slow to make, and SAM 1's decoder has the same layers in tests/models/test_export.py.
    del module.mask_decoder.transformer.layers[1]
    network = sam2.network(module, "cpu", side=SIDE)
    card = replace(published("sam2.1-tiny").card, sha256="0" * 64)
    return PlanarModel(card, network, FrameSpec(SIDE, fit="stretch", whole=False))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model, image):
    path = tmp_path_factory.mktemp("exported") / "bundle"
    export(model, path, images=[image])
    return path


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_masks_are_the_originals_one_by_one_and_together(folder, model, image, runtime):
    exported = load_bundle(folder, runtime=runtime)
    theirs, ours = model.embed(image), exported.embed(image)
    click, box = Point((40, 30, 0)), Box((10, 5, 0), (70, 50, 1))
    asked = [Prompts(image.geometry, items) for items in ((click,), (box,), (box, click), (click, click), (box,))]
    previous = [None, None, None, None, model.decode(theirs, asked[1])]
    wanted = [model.decode(theirs, *both) for both in zip(asked, previous, strict=True)]
    for found in (
        [exported.decode(ours, *both) for both in zip(asked, previous, strict=True)],
        decode_all(exported, ours, asked, previous),
        decode_all(model, theirs, asked, previous),
    ):
        for first, second in zip(found, wanted, strict=True):
            np.testing.assert_allclose(first.logits, second.logits, atol=1e-4)
            np.testing.assert_allclose(first.scores, second.scores, atol=1e-4)
    assert wanted[1].logits.std() > 0.1


def test_nothing_is_interpolated_that_does_not_depend_on_the_picture(folder):
    """OpenVINO took 107 s to open an exported tiny encoder for the sake of its map of places; see ``sam2.build``."""
    graph = onnx.load(folder / "encoder.onnx").graph
    depends = {"picture"}
    for node in graph.node:
        if depends & set(node.input):
            depends |= set(node.output)
        else:
            assert node.op_type != "Resize", node.name
    assert sum(node.op_type == "Resize" for node in graph.node) == 1  # of maps, from coarse to fine


@pytest.mark.parametrize("cells", [SIDE // 4, 24])
def test_places_are_spread_as_by_interpolation(model, cells):
    hiera = model.network.encoder.vision_encoder.backbone
    theirs = super(type(hiera), hiera)
    with torch.no_grad():
        torch.testing.assert_close(hiera._get_pos_embed((cells, cells)), theirs._get_pos_embed((cells, cells)))


def test_that_boxes_are_padded_is_on_the_card(folder, image):
    exported = load_bundle(folder, runtime="onnxruntime")
    assert exported.network.spec.pads_boxes
    embedding, box = exported.embed(image), Prompts(image.geometry, (Box((10, 5, 0), (70, 50, 1)),))
    padded = exported.decode(embedding, box)
    exported.network._spec = replace(exported.network.spec, pads_boxes=False)
    assert np.abs(exported.decode(embedding, box).logits - padded.logits).max() > 1e-3
