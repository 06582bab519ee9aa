"""The network of the tiny model: shapes, any resolution, prompts that count."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network is for training; it needs the extra 'train'")

from samaritan.models.tiny import FOLDER  # noqa: E402
from samaritan.models.tiny.adapter import GRAPH_FILE, SEARCH_SIDE  # noqa: E402
from samaritan.models.tiny.evidence import Appearance  # noqa: E402
from samaritan.models.tiny.network import MASKS, NETWORK_FILE, Design, TinyNetwork, load_network  # noqa: E402
from samaritan.models.tiny.prompt_maps import CHANNELS, render  # noqa: E402
from samaritan.models.tiny.zoom import FRAME_SIDE  # noqa: E402


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
    masks = network(torch.rand(1, 3, height, width) * 255, _maps(shape, [(0, 0, 32, 32)]))
    assert masks.logits.shape == (1, MASKS, height // 2, width // 2)
    assert masks.predicted_iou.shape == (1, MASKS)
    assert ((masks.predicted_iou >= 0) & (masks.predicted_iou <= 1)).all()


@torch.no_grad()
def test_windows_do_not_mix(network):
    images = torch.rand(3, 3, 64, 96) * 255
    maps = _maps((64, 96), [(0, 0, 32, 32), (10, 20, 90, 60), (40, 8, 48, 16)])
    together = network(images, maps)
    for index in range(3):
        alone = network(images[index : index + 1], maps[index : index + 1])
        torch.testing.assert_close(together.logits[index], alone.logits[0], atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(together.predicted_iou[index], alone.predicted_iou[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("design", [Design(), Design(early=False), Design(likeness=False, attention=0)])
@torch.no_grad()
def test_the_prompt_changes_the_answer(design):
    torch.manual_seed(0)
    image = (torch.rand(1, 3, 64, 64) * 255).expand(2, -1, -1, -1)
    logits = TinyNetwork(design).eval()(image, _maps((64, 64), [(0, 0, 32, 32), (32, 32, 64, 64)])).logits
    assert not torch.allclose(logits[0], logits[1])


@torch.no_grad()
def test_prompts_enter_the_backbone_without_changing_it_at_first(network):
    image, maps = torch.rand(1, 3, 64, 64) * 255, _maps((64, 64), [(0, 0, 32, 32)])
    wanted = network(image, maps).logits
    other = deepcopy(network)
    for entry in (other.encoder.entry2, other.encoder.entry4):
        torch.nn.init.normal_(entry.mix.weight)
    torch.testing.assert_close(other(image, maps).logits, wanted)
    torch.nn.init.normal_(other.encoder.entry2.spread.weight)
    assert not torch.allclose(other(image, maps).logits, wanted)


@torch.no_grad()
def test_a_previous_mask_is_the_answer_s_starting_point_at_its_own_resolution():
    torch.manual_seed(0)
    network = TinyNetwork().eval()
    for layer in (network.decoder.mask, network.decoder.seen2):
        torch.nn.init.zeros_(layer.weight)  # nothing but what the prompts say by themselves
    checks = np.indices((32, 32)).sum(axis=0) % 2 * 16.0 - 8.0  # as fine as masks are
    maps = torch.from_numpy(render((64, 64), previous=checks.astype(np.float32)))[None]
    logits = network(torch.zeros(1, 3, 64, 64), maps).logits
    assert ((logits[0] > -1) == torch.from_numpy(checks > 0)).all()  # -1: most pixels belong to no object


def test_every_weight_learns(network):
    masks = network(torch.rand(2, 3, 64, 64) * 255, torch.rand(2, CHANNELS, 16, 16))
    (masks.logits.square().mean() + masks.predicted_iou.sum()).backward()
    still = [name for name, weight in network.named_parameters() if weight.grad is None]
    network.zero_grad(set_to_none=True)
    assert not still


def test_the_quality_head_does_not_shape_the_masks(network):
    masks = network(torch.rand(1, 3, 64, 64) * 255, torch.rand(1, CHANNELS, 16, 16))
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


def _asked_in_every_way(side):
    """Prompt maps of a box, a click, and both signs of clicks on an earlier answer, in a frame of ``side`` pixels."""
    middle, corner = (side / 2, side / 2), (side / 8, side / 8)
    before = np.full((side, side), -8, np.float32)
    before[side // 4 : side // 2, side // 4 : side // 2] = 8
    boxed = render((side, side), box=np.array([0.1, 0.2, 0.7, 0.6], np.float32) * side)
    clicked = render((side, side), points=np.array([middle], np.float32), positive=np.array([True]))
    corrected = render(
        (side, side), points=np.array([middle, corner], np.float32), positive=np.array([True, False]), previous=before
    )
    return torch.from_numpy(np.stack([boxed, clicked, corrected]))


@pytest.mark.parametrize("side", [96, SEARCH_SIDE, FRAME_SIDE])
@torch.no_grad()
def test_the_weights_that_ship_are_the_same_for_torch_and_onnx(side):
    onnxruntime = pytest.importorskip("onnxruntime")
    weights = FOLDER / "weights"
    network = load_network(weights / NETWORK_FILE).eval()
    maps = _asked_in_every_way(side)
    image = torch.rand(len(maps), 3, side, side, generator=torch.Generator().manual_seed(0)) * 255
    wanted = network(image, maps)
    session = onnxruntime.InferenceSession(weights / GRAPH_FILE)
    logits, iou = session.run(None, {"image": image.numpy(), "prompt_maps": maps.numpy()})
    # docs/models/default.md promises 1e-3 in logits; no probability differs by more than a quarter of its logit.
    np.testing.assert_allclose(logits, wanted.logits.numpy(), rtol=0, atol=1e-3)
    np.testing.assert_allclose(iou, wanted.predicted_iou.numpy(), rtol=0, atol=1e-3)
