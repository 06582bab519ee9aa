"""TinyViT gives what the image encoders of MobileSAM and LiteMedSAM give, for the same weights."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from tests.models.references import original, randomise
from torch import nn

from samaritan.core.errors import ImageError
from samaritan.models.mobile_sam.tiny_vit import TinyViT, encoder_state, fused

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny-vit")]  # one process makes the graph

CLOSE = {"atol": 1e-4, "rtol": 1e-4}  # of embeddings, whose deviation is about 1
SMALL = 256  # a side at which a grid of 16 x 16 is left, and every window reaches beyond it
CLASSIFIER = {"norm_head.weight", "norm_head.bias", "head.weight", "head.bias"}


@pytest.fixture(autouse=True)
def _one_thread_and_no_gradients():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)


def official(side):
    """The original's class as the two models make it; built for ``side`` pixels, with random weights.

    It gathers its attention biases when it is told to evaluate, and not again when it is given weights; ``randomise``
    tells it last.
    """
    encoder = original("mobile_sam.modeling").TinyViT(
        img_size=side, embed_dims=[64, 128, 160, 320], depths=[2, 2, 6, 2], num_heads=[2, 4, 5, 10],
        window_sizes=[7, 7, 14, 7], drop_path_rate=0.0,
    )  # fmt: skip
    return randomise(encoder)


def lite_medsam():
    """LiteMedSAM's encoder: MobileSAM's, but that its entry looks at single pixels, so that 256 do what 1024 did."""
    conv_norm = original("mobile_sam.modeling.tiny_vit_sam").Conv2d_BN
    encoder = official(1024)
    encoder.patch_embed.seq = nn.Sequential(conv_norm(3, 32), nn.GELU(), conv_norm(32, 64))
    return randomise(encoder)


def embedding(theirs, pictures):
    """Of the original, for pictures of another size: its own ``forward`` takes every grid for 64 x 64."""
    places = theirs.patch_embed(pictures)
    for layer in theirs.layers:
        places = layer(places)
    side = math.isqrt(places.shape[1])
    return theirs.neck(places.transpose(1, 2).reshape(len(places), -1, side, side))


def ours(theirs, side, *, stride=4):
    encoder = TinyViT(side, stride=stride)
    encoder.load_state_dict(encoder_state(theirs.state_dict()), strict=True)
    return encoder.eval()


def pictures(side, n=1):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(side))


@functools.cache
def small():
    theirs = official(SMALL)
    return theirs, ours(theirs, SMALL)


def assert_alike(encoder, given, wanted):
    torch.testing.assert_close(encoder(given), wanted, **CLOSE)
    torch.testing.assert_close(fused(encoder)(given), wanted, **CLOSE)


# -- the same embeddings --------------------------------------------------------------------------------------------


def test_mobile_sam():
    theirs = randomise(original("mobile_sam").sam_model_registry["vit_t"]().image_encoder)
    given = pictures(1024)
    wanted = theirs(given)
    assert wanted.shape == (1, 256, 64, 64)
    assert_alike(ours(theirs, 1024), given, wanted)


def test_lite_medsam():
    theirs = lite_medsam()
    given = pictures(256)
    wanted = theirs(given)
    assert wanted.shape == (1, 256, 64, 64)
    assert_alike(ours(theirs, 256, stride=1), given, wanted)


# Grids of 4 (less than a window), 7 (one window, half of one), 16 (windows reach beyond), 28 (windows fit).
@pytest.mark.parametrize("side", [64, 112, 256, 448])
def test_other_sides(side):
    theirs = official(side)
    given = pictures(side, n=2)
    wanted = embedding(theirs, given)
    assert wanted.shape == (2, 256, side // 16, side // 16)
    assert_alike(ours(theirs, side), given, wanted)


# -- weights --------------------------------------------------------------------------------------------------------


def test_names_and_shapes_are_the_originals_but_for_the_classifier():
    official_state = original("mobile_sam").sam_model_registry["vit_t"]().image_encoder.state_dict()
    assert set(official_state) - set(encoder_state(official_state)) == CLASSIFIER
    shapes = {name: tensor.shape for name, tensor in TinyViT(1024).state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in encoder_state(official_state).items()}


def test_saved_tables_are_left_out_because_ours_are_the_same():
    theirs, encoder = small()
    tables = {name: table for name, table in theirs.named_buffers() if name.endswith(("_idxs", ".ab"))}
    mine = dict(encoder.named_buffers())
    for name, table in tables.items():
        if name.endswith("_idxs"):
            assert torch.equal(mine[name], table)
    assert len(tables) == 20
    assert set(encoder_state({**theirs.state_dict(), **tables})) == set(encoder.state_dict())


def test_what_does_not_belong_is_refused():
    state = small()[0].state_dict()
    with pytest.raises(RuntimeError, match=r"adapter\.weight"):
        TinyViT(SMALL).load_state_dict(encoder_state({**state, "adapter.weight": torch.zeros(1)}))
    with pytest.raises(RuntimeError, match=r"patch_embed\.seq\.0\.c\.weight"):
        TinyViT(SMALL, stride=1).load_state_dict(encoder_state(state))


@torch.enable_grad()
def test_every_weight_learns():
    encoder = TinyViT(64)
    # The squares: after the last norm, the sum over the channels is always the same.
    encoder(pictures(64, n=2)).square().sum().backward()
    still = [name for name, weight in encoder.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not still


# -- fused ----------------------------------------------------------------------------------------------------------


@torch.enable_grad()
def test_fused_is_a_copy_without_batch_norms():
    encoder = ours(official(64), 64).train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    faster = fused(encoder)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in faster.modules())
    assert not faster(pictures(64)).requires_grad
    assert encoder.training
    assert all(weight.requires_grad for weight in encoder.parameters())
    after = encoder.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


# -- what cannot be -------------------------------------------------------------------------------------------------


def test_takes_pictures_of_its_own_size_only():
    encoder = TinyViT(64)
    for shape in [(1, 3, 128, 128), (1, 3, 64, 128), (1, 1, 64, 64), (3, 64, 64)]:
        with pytest.raises(ImageError, match="Wanted \\(n, 3, 64, 64\\)"):
            encoder(torch.zeros(shape))


@pytest.mark.parametrize(("side", "stride"), [(1000, 4), (0, 4), (-64, 4), (250, 1), (256, 2)])
def test_sides_and_strides_that_cannot_be(side, stride):
    with pytest.raises(ImageError, match="Wanted"):
        TinyViT(side, stride=stride)


# -- exported -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """The fused encoder in ONNX, for any number of pictures."""
    pytest.importorskip("onnxscript", reason="exporting needs the extra 'export'")
    path = tmp_path_factory.mktemp("tiny_vit") / "encoder.onnx"
    torch.onnx.export(
        fused(small()[1]), (pictures(SMALL, n=2),), str(path), dynamo=True, external_data=False, opset_version=20,
        input_names=["pictures"], output_names=["embedding"], dynamic_shapes=({0: torch.export.Dim("n")},),
        verbose=False,
    )  # fmt: skip
    return path


# PyTorch's exporter warns of PyTorch's own tree utilities.
pytorch_of_itself = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")


@pytorch_of_itself
@pytest.mark.parametrize("n", [1, 3])
def test_onnx_runtime_agrees(graph, n):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    given = pictures(SMALL, n)
    (got,) = session.run(["embedding"], {"pictures": given.numpy()})
    np.testing.assert_allclose(got, embedding(small()[0], given).numpy(), **CLOSE)


@pytorch_of_itself
def test_openvino_agrees(graph):
    openvino = pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    # Of its own accord it computes in bfloat16 where the CPU can, and is then off by 0.05.
    model = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    given = pictures(SMALL, 3)
    np.testing.assert_allclose(
        model({"pictures": given.numpy()})["embedding"], embedding(small()[0], given).numpy(), **CLOSE
    )
