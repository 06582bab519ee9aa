"""The network of the tiny model: shapes, any resolution, one embedding for many prompts."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network is for training; it needs the extra 'train'")

from samaritan.models.tiny import FOLDER  # noqa: E402
from samaritan.models.tiny.evidence import Appearance  # noqa: E402
from samaritan.models.tiny.network import MASKS, NETWORK_FILE, Embedding, TinyNetwork, load_network  # noqa: E402
from samaritan.models.tiny.prompt_maps import CHANNELS, render  # noqa: E402


@pytest.fixture(scope="module")
def network():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield TinyNetwork().eval()
    torch.set_num_threads(threads)


def _maps(shape, boxes):
    return torch.from_numpy(np.stack([render(shape, box=np.array(box, np.float32)) for box in boxes]))


@pytest.mark.parametrize("shape", [(64, 64), (96, 160), (256, 256)])
@torch.no_grad()
def test_takes_any_resolution_that_is_a_multiple_of_32(network, shape):
    height, width = shape
    embedding = network.encoder(torch.rand(1, 3, height, width) * 255)
    strides = {"s16": (16, 128), "s8": (8, 64), "s4": (4, 48), "s2": (2, 8 + 3)}
    for name, (stride, channels) in strides.items():
        assert getattr(embedding, name).shape == (1, channels, height // stride, width // stride)
    masks = network.decoder(embedding, _maps(shape, [(0, 0, 32, 32)]))
    assert masks.logits.shape == (1, MASKS, height // 2, width // 2)
    assert masks.predicted_iou.shape == (1, MASKS)
    assert ((masks.predicted_iou >= 0) & (masks.predicted_iou <= 1)).all()


@torch.no_grad()
def test_one_embedding_serves_a_batch_of_prompts(network):
    embedding = network.encoder(torch.rand(1, 3, 64, 96) * 255)
    maps = _maps((64, 96), [(0, 0, 32, 32), (10, 20, 90, 60), (40, 8, 48, 16)])
    together = network.decoder(embedding, maps)
    repeated = network.decoder(Embedding(*(part.repeat(3, 1, 1, 1) for part in embedding)), maps)
    torch.testing.assert_close(together.logits, repeated.logits)
    for index in range(3):
        alone = network.decoder(embedding, maps[index : index + 1])
        torch.testing.assert_close(together.logits[index], alone.logits[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(together.predicted_iou[index], alone.predicted_iou[0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_prompt_changes_the_answer(network):
    embedding = network.encoder(torch.rand(1, 3, 64, 64) * 255)
    logits = network.decoder(embedding, _maps((64, 64), [(0, 0, 32, 32), (32, 32, 64, 64)])).logits
    assert not torch.allclose(logits[0], logits[1])


def test_every_weight_learns(network):
    masks = network.decoder(network.encoder(torch.rand(1, 3, 64, 64) * 255), torch.rand(2, CHANNELS, 16, 16))
    (masks.logits.square().mean() + masks.predicted_iou.sum()).backward()
    still = [name for name, weight in network.named_parameters() if weight.grad is None]
    network.zero_grad(set_to_none=True)
    assert not still


def test_the_quality_head_does_not_shape_the_masks(network):
    masks = network.decoder(network.encoder(torch.rand(1, 3, 64, 64) * 255), torch.rand(1, CHANNELS, 16, 16))
    masks.predicted_iou.sum().backward()
    moved = [name for name, weight in network.named_parameters() if weight.grad is not None]
    network.zero_grad(set_to_none=True)
    assert all(name.startswith("decoder.quality") for name in moved)


def test_stays_small(network):
    assert sum(weight.numel() for weight in network.parameters()) < 5_000_000


def _scene(*, inside: float, outside: float):
    """A rectangle of one grey on another, at stride 2, and a prompt at stride 4 that covers a part of it."""
    image = torch.full((1, 3, 32, 32), outside)
    image[..., 8:24, 8:24] = inside
    under = torch.zeros(1, 2, 16, 16)
    under[:, 0, 7:9, 7:9] = 1.0
    return image, under


@pytest.mark.parametrize(("inside", "outside"), [(0.8, 0.2), (0.2, 0.8), (0.5, 0.45)])
def test_appearance_tells_object_from_background_whatever_the_contrast(inside, outside):
    evidence = Appearance()(*_scene(inside=inside, outside=outside))
    assert evidence.shape == (1, 2, 32, 32)
    assert evidence[0, 0, 8:24, 8:24].min() > 0 > evidence[0, 0, :8].max()


def test_appearance_says_nothing_of_prompts_that_are_not_there():
    evidence = Appearance()(*_scene(inside=0.8, outside=0.2))
    torch.testing.assert_close(evidence[0, 1], torch.zeros(32, 32))


def test_appearance_of_one_image_serves_many_prompts():
    image, under = _scene(inside=0.8, outside=0.2)
    prompts = torch.cat([under, under.flip(1), under.roll(4, dims=2)])
    torch.testing.assert_close(Appearance()(image, prompts), Appearance()(image.expand(3, -1, -1, -1), prompts))


@torch.no_grad()
def test_the_weights_that_ship_are_the_same_for_torch_and_onnx():
    onnxruntime = pytest.importorskip("onnxruntime")
    weights = FOLDER / "weights"
    network = load_network(weights / NETWORK_FILE).eval()
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 255
    maps = _maps((96, 96), [(10, 20, 70, 60)])
    wanted = network.decoder(network.encoder(image), maps)
    encoder, decoder = (onnxruntime.InferenceSession(weights / f"{part}.onnx") for part in ("encoder", "decoder"))
    features = dict(zip(Embedding._fields, encoder.run(None, {"image": image.numpy()}), strict=True))
    logits, iou = decoder.run(None, {**features, "prompt_maps": maps.numpy()})
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), torch.sigmoid(wanted.logits).numpy(), atol=1e-3)
    np.testing.assert_allclose(iou, wanted.predicted_iou.numpy(), atol=1e-3)
