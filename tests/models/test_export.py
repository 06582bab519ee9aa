"""A bundle says what the network in PyTorch says, on every runtime, and refuses what is not whole."""

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
from tests.models.references import randomise

from samaritan.core.errors import ChecksumError, ResourceError, UnknownNameError, WeightsError, WriteError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.model import decode_all
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.models import export as exporting
from samaritan.models import load_model, sam
from samaritan.models.bundle import load_bundle
from samaritan.models.certificate import certify
from samaritan.models.planar import FrameSpec, PlanarModel
from samaritan.models.published import published
from samaritan.models.trial import Source, peak_memory
from samaritan.testing.conformance import UNTRAINED_MODEL_CHECKS

SIDE = 128


def picture(width=90, height=61, seed=0):
    array = np.random.default_rng(seed).integers(0, 256, (3, width, height, 1)).astype(np.float32)
    return Image(array, Geometry.picture(width, height), channels=RGB)


@functools.cache
def model():
    module = randomise(sam.build(48, 4, 3, side=SIDE))
    card = replace(published("sam-vit-b").card, sha256="0" * 64, base='of "quotes"')
    return PlanarModel(card, sam.network(module, "cpu"), FrameSpec(SIDE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "deep" / "bundle"
    exporting.export(model(), path, images=[picture(), picture(30, 200)])
    return path


def told(folder):
    return json.loads((folder / "parity.json").read_text())


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "auto"])
def test_masks_are_the_originals(folder, runtime):
    exported, image = load_bundle(folder, runtime=runtime), picture(77, 50, seed=3)
    ours, theirs = exported.embed(image), model().embed(image)
    first = model().decode(theirs, Prompts(image.geometry, (Box((5, 5, 0), (40, 30, 1)),)))
    for prompts, previous in (
        ((Point((20, 20, 0)),), None),
        ((Box((5, 5, 0), (40, 30, 1)), Point((9, 9, 0), positive=False)), None),
        ((Point((20, 20, 0)), Point((30, 9, 0))), first),
    ):
        asked = Prompts(image.geometry, prompts)
        got, wanted = exported.decode(ours, asked, previous), model().decode(theirs, asked, previous)
        np.testing.assert_allclose(got.logits, wanted.logits, atol=1e-4)
        np.testing.assert_allclose(got.scores, wanted.scores, atol=1e-4)
    assert wanted.logits.std() > 0.1


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_objects_decoded_together_are_what_they_are_alone(folder, runtime):
    exported, image = load_bundle(folder, runtime=runtime), picture(77, 50, seed=3)
    embedding = exported.embed(image)
    boxes = [Prompts(image.geometry, (Box((n, 5, 0), (40, 30, 1)),)) for n in range(4)]
    mixed = [*boxes, Prompts(image.geometry, (Point((20, 20, 0)),)), Prompts(image.geometry, (Point((30, 9, 0)),) * 3)]
    previous = [exported.decode(embedding, boxes[0]), *[None] * (len(mixed) - 1)]
    together = decode_all(exported, embedding, mixed, previous)
    for asked, before, found in zip(mixed, previous, together, strict=True):
        alone = exported.decode(embedding, asked, before)
        np.testing.assert_allclose(found.logits, alone.logits, atol=1e-4)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-4)
    assert np.ptp([found.logits[0, 5, 5] for found in together]) > 1e-2


def test_a_bundle_is_a_model_by_its_path_with_the_originals_card(folder):
    loaded = load_model(str(folder), device="cpu")
    same = {"base", "title", "licence", "prompts", "training_data", "native_shape", "intensity_range", "ct_window"}
    assert all(getattr(loaded.card, name) == getattr(model().card, name) for name in same)
    assert loaded.card.sha256 != model().card.sha256  # other files: what is cached of the one is not the other's


def test_the_certificate_tells_what_was_compared(folder):
    parity = told(folder)
    assert parity["images"] == 2
    assert 0 <= parity["logits_apart"] < 1e-3 < parity["logits_spread"]
    assert parity["dice"] >= exporting.LEAST_DICE
    assert min(parity[side][what] for side in ("before", "after") for what in ("embed_s", "decode_s")) > 0


def test_the_certificate_has_the_memory_of_each_in_a_process_of_its_own(folder):
    # Nobody said where the original lies: only the folder could be tried by another process.
    assert told(folder)["before"]["memory_mib"] is None
    assert 40 < told(folder)["after"]["memory_mib"] < 1000
    held = np.ones(200 << 17)  # 200 MiB that this process holds, and that process must not be charged with
    cost = certify(model(), model(), [picture()], sources=(Source(str(folder)), None)).before
    assert abs(cost.memory_mib - told(folder)["after"]["memory_mib"]) < held.nbytes / 2**21


@pytest.mark.parametrize("check", UNTRAINED_MODEL_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_conformance(folder, check):
    check(load_bundle(folder, runtime="onnxruntime"))


def test_eight_bits_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "LEAST_DICE_INT8", 0.5)  # random weights amplify what trained ones do not
    images = [picture(seed=n) for n in range(3)]
    certificate = exporting.export(model(), tmp_path / "b", images=images, int8=True)
    assert 1e-4 < certificate.logits_apart < 2 * certificate.logits_spread
    sizes = [(tmp_path / "b" / name).stat().st_size for name in ("encoder.onnx", "card.toml")]
    assert sizes[0] < 0.6 * sum(tensor.nbytes for tensor in model().network.encoder.state_dict().values())


def test_eight_bits_that_change_masks_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "LEAST_DICE_INT8", 1.01)
    with pytest.raises(WeightsError, match="Dice"):
        exporting.export(model(), tmp_path / "b", images=[picture()], int8=True)
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_an_export_that_fails(tmp_path, monkeypatch):
    def fail(*_args, **_kwargs):
        raise WeightsError(got="no")

    monkeypatch.setattr(exporting, "certify", fail)
    monkeypatch.setattr(exporting, "_write_graphs", lambda *_: [(tmp_path / "x").touch()])
    with pytest.raises(WeightsError):
        exporting.export(model(), tmp_path / "bundle", images=[picture()])
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(WriteError, match="exists"):
        exporting.export(model(), tmp_path, images=[picture()])


def test_the_default_model_cannot_be_exported(tmp_path):
    with pytest.raises(WeightsError, match="ONNX already"):
        exporting.export(load_model(), tmp_path / "b", images=[picture()])


def copied(folder, tmp_path):
    target = tmp_path / "copy"
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_damage_is_named(folder, tmp_path):
    target = copied(folder, tmp_path)
    whole = (target / "decoder.onnx").read_bytes()
    (target / "decoder.onnx").write_bytes(whole[:-1] + b"x")
    with pytest.raises(ChecksumError, match=r"decoder\.onnx"):
        load_bundle(target)
    (target / "decoder.onnx").unlink()
    with pytest.raises(WeightsError, match=r"no file decoder\.onnx"):
        load_bundle(target)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"version" = 2', '"version" = 9', "version 9"),
        ("[bundle]", "[bundle", "no TOML"),
        ('"encoder.onnx" =', '"../encoder.onnx" =', "lists"),
        ('"version" = 2', '"version" = 1', "version 1"),
        ('"runtime" = "auto"', "", "runtime"),
        ('"mask_side" = 32', '"mask_side" = "x"', "another kind"),
        ('"side" = 128', '"sides" = 128', "another kind"),
        ("[files]", "[filed]", "table|lists"),
    ],
)
def test_cards_that_are_not_ours_are_refused(folder, tmp_path, old, new, reason):
    target = copied(folder, tmp_path)
    card = target / "card.toml"
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new))
    with pytest.raises(WeightsError, match=reason):
        load_bundle(target)


def test_a_process_that_ends_early_is_reported():
    with pytest.raises(ResourceError, match=r"'nowhere' ended early: .*unknown model"):
        peak_memory(Source("nowhere"), picture())


def test_files_that_the_card_does_not_list_are_refused(folder, tmp_path):
    target = copied(folder, tmp_path)
    (target / ".DS_Store").write_bytes(b"")
    assert load_bundle(target)
    (target / "weights.bin").write_bytes(b"0")
    with pytest.raises(WeightsError, match=r"weights\.bin, which its card does not list"):
        load_bundle(target)


def test_names_of_a_frame_that_nobody_knows_are_refused():
    for wrong in ({"fit": "zoom"}, {"values": "log"}, {"filter": "lanczos"}, {"colours": "grey"}):
        with pytest.raises(UnknownNameError, match=f"unknown {next(iter(wrong))} of a frame"):
            FrameSpec(SIDE, **wrong)


def test_openvino_does_not_stand_in_for_a_gpu(folder):
    with pytest.raises(ResourceError, match=r"device 'cuda' for a model that OpenVINO runs"):
        load_bundle(folder, runtime="openvino", device="cuda")


def test_an_unknown_runtime_is_refused(folder):
    with pytest.raises(UnknownNameError, match="unknown runtime"):
        load_bundle(folder, runtime="tensorrt")
