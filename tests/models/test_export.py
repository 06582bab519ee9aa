"""A bundle says what the network in PyTorch says, on every runtime, and refuses what is not whole."""

import errno
import functools
import json
import platform
import shutil
import sys
import tempfile
import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from onnx.external_data_helper import load_external_data_for_model
from tests.models.references import randomise

import samaritan
from samaritan.cli import main
from samaritan.core.errors import (
    ChecksumError,
    ImageError,
    MissingExtraError,
    ResourceError,
    UnknownNameError,
    WeightsError,
    WriteError,
)
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.model import decode_all
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.models import certificate as certificates
from samaritan.models import export as exporting
from samaritan.models import graphs, load_model, quantise, sam
from samaritan.models.bundle import load_bundle
from samaritan.models.certificate import Agreement, Certificate, Cost, certify
from samaritan.models.made_with import MadeWith
from samaritan.models.planar import FrameSpec, PlanarModel
from samaritan.models.published import published
from samaritan.models.trial import Source, peak_memory
from samaritan.testing.conformance import UNTRAINED_MODEL_CHECKS

# PyTorch takes a quarter of a minute to make the graphs: one process makes them, once (`pytest --dist loadgroup`).
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("export")]

SIDE = 128
BESIDE = {"encoder.onnx.data", "decoder.onnx.data"}
FILES = {"encoder.onnx", "decoder.onnx", "card.toml", "parity.json"} | BESIDE


def picture(width=90, height=61, seed=0):
    array = np.random.default_rng(seed).integers(0, 256, (3, width, height, 1)).astype(np.float32)
    return Image(array, Geometry.picture(width, height), channels=RGB)


@functools.cache
def model():
    module = randomise(sam.build(48, 8, 3, side=SIDE))
    # One block that looks at windows, one at the whole picture, each of a kind that the others repeat: graphs are slow
    # to make.
    del module.vision_encoder.layers[2:]
    card = replace(published("sam-vit-b").card, sha256="0" * 64, base='of "quotes"')
    return PlanarModel(card, sam.network(module, "cpu"), FrameSpec(SIDE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle whose weights lie beside the graphs, as those of large models do."""
    path = tmp_path_factory.mktemp("exported") / "deep" / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "_MOST_IN_ONE_FILE", 0)
        exporting.export(model(), path, images=[picture(), picture(30, 200)])
    return path


@pytest.fixture(scope="module")
def in_one_file(folder, tmp_path_factory):
    """The same graphs with their weights in them."""
    path = tmp_path_factory.mktemp("graphs")
    for name in ("encoder.onnx", "decoder.onnx"):
        graph = onnx.load(folder / name, load_external_data=False)
        load_external_data_for_model(graph, str(folder))
        onnx.save(graph, path / name)
    return path


def write_from(made):
    """Return what writes graphs that were made before, in place of making them."""

    def write_graphs(network, side, folder):
        assert network is model().network
        for path in made.glob("*.onnx*"):
            shutil.copy(path, folder)

    return write_graphs


@pytest.fixture
def ready(folder, monkeypatch):
    """Export at no cost: graphs that are there, and a certificate that is made up."""
    cost = Cost(1.0, 1.0, None)
    certificate = Certificate("sam", "0" * 64, 1, 0.0, 1.0, 1.0, cost, cost, "none", MadeWith.now())
    monkeypatch.setattr(graphs, "write_graphs", write_from(folder))
    monkeypatch.setattr(exporting, "certify", lambda *_, **__: certificate)


@pytest.fixture(scope="module", params=["weights beside", "in one file"])
def in_eight_bits(request, folder, in_one_file, tmp_path_factory):
    """A bundle in eight bits, and its certificate."""
    path, beside = tmp_path_factory.mktemp("int8") / "bundle", request.param == "weights beside"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "write_graphs", write_from(folder if beside else in_one_file))
        patch.setattr(certificates, "peak_memory", lambda *_: 0)  # measured of ``folder``
        certificate = exporting.export(model(), path, images=[picture(seed=n) for n in range(3)], int8=True)
    return path, certificate, beside


def told(folder):
    return json.loads((folder / "parity.json").read_text())


def taking(*kinds):
    """The model, as if it took these kinds of prompts."""
    whole = model()
    return PlanarModel(replace(whole.card, prompts=frozenset(kinds)), whole.network, whole.frame)


def test_a_model_that_takes_only_boxes_is_asked_about_a_box(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(graphs, "write_graphs", write_from(folder))
    certificate = exporting.export(taking("box"), tmp_path / "bundle", images=[picture()])
    assert certificate.dice >= exporting.LEAST_DICE
    assert certificate.after.memory_mib  # the process of its own asked about a box, too


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(
    ("kinds", "prompt"), [(["box"], "--box X0,Y0:X1,Y1"), (["box", "point"], "--point X,Y")], ids=["boxes", "both"]
)
def test_what_to_type_next_has_a_prompt_that_the_model_takes(tmp_path, monkeypatch, capsys, kinds, prompt):
    monkeypatch.setattr("samaritan.models.load_model", lambda *_, **__: taking(*kinds))
    with pytest.raises(SystemExit) as left:
        main(["export", "any", "-o", str(tmp_path / "out")])
    assert not left.value.code
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"--model {tmp_path / 'out'} {prompt}")


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


def test_the_certificate_has_what_it_was_made_with(folder):
    made = told(folder)["made_with"]
    assert abs(datetime.now(UTC) - datetime.fromisoformat(made["date"])) < timedelta(hours=1)
    assert made["runtimes"] == {
        "before": {"encoder": "torch on cpu", "decoder": "torch on cpu"},
        "after": {"encoder": "openvino on CPU", "decoder": "onnxruntime on CPUExecutionProvider"},
    }
    assert made["versions"] == {
        "samaritan": samaritan.__version__,
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "openvino": openvino.__version__,
        "torch": torch.__version__,
    }
    assert made["platform"] == platform.platform()
    assert made["processor"]


def test_the_certificate_tells_of_the_other_runtimes_that_are_here(folder):
    parity = told(folder)
    assert parity["made_with"]["runtimes"]["after"]["encoder"] == "openvino on CPU"
    assert list(parity["others"]) == ["onnxruntime"]
    assert parity["others"]["onnxruntime"]["dice"] >= exporting.LEAST_DICE
    assert 0 <= parity["others"]["onnxruntime"]["logits_apart"] < 1e-3


def test_masks_that_differ_on_another_runtime_alone_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "agreement", lambda *_: Agreement(9.0, 0.5))
    with pytest.raises(WeightsError, match=r"Dice 0\.5000"):
        exporting.export(model(), tmp_path / "out", images=[picture()])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("certificate", [None, "{}", "no JSON"])
def test_a_bundle_with_an_earlier_versions_certificate_is_read(folder, tmp_path, certificate):
    target = copied(folder, tmp_path)
    earlier = told(folder)
    del earlier["made_with"]
    (target / "parity.json").write_text(certificate or json.dumps(earlier))
    assert load_bundle(target).card == load_bundle(folder).card


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


def dice(first, second):
    first, second = first.logits > 0, second.logits > 0
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_masks_in_eight_bits_are_those_in_float32_on_pictures_it_has_not_seen(in_eight_bits):
    path, certificate, _ = in_eight_bits
    assert certificate.dice >= exporting.LEAST_DICE_INT8
    exported, image = load_bundle(path), picture(70, 80, seed=9)
    ours, theirs = exported.embed(image), model().embed(image)
    apart = 0
    for items in ((Point((35, 40, 0)),), (Box((17, 20, 0), (52, 60, 1)),)):
        asked = Prompts(image.geometry, items)
        got, wanted = exported.decode(ours, asked), model().decode(theirs, asked)
        assert dice(got, wanted) >= exporting.LEAST_DICE_INT8
        apart = max(apart, np.abs(got.logits - wanted.logits).max())
    assert apart > 1e-3  # rounded it is


def test_eight_bits_take_a_quarter_of_the_room(folder, in_eight_bits):
    path, _, beside = in_eight_bits
    assert {file.name for file in path.iterdir()} == (FILES if beside else FILES - BESIDE)
    sizes = [sum(file.stat().st_size for file in bundle.glob("encoder.onnx*")) for bundle in (path, folder)]
    # The first layer, positions and norms keep their floats, which count for more in so small a network.
    assert 0.25 < sizes[0] / sizes[1] < 0.4


def test_eight_bits_that_change_masks_are_refused(in_one_file, tmp_path, monkeypatch):
    def on_black(encoder, pictures):
        quantise.quantise(encoder, [0 * picture for picture in pictures])

    monkeypatch.setattr(graphs, "write_graphs", write_from(in_one_file))
    monkeypatch.setattr(exporting, "quantise", on_black)
    monkeypatch.setattr(certificates, "peak_memory", lambda *_: 0)
    with pytest.raises(WeightsError, match=r"Dice .*at least 0\.98 .*more of your own images"):
        exporting.export(model(), tmp_path / "b", images=[picture()], int8=True)
    assert not list(tmp_path.iterdir())


def test_graphs_of_more_than_a_protobuf_holds_are_brought_to_eight_bits(folder, tmp_path, monkeypatch):
    serializer = type(onnx.serialization.registry.get("protobuf"))
    serialize = serializer.serialize_proto

    def limited(self, proto):
        content = serialize(self, proto)
        assert len(content) < 1 << 20, "more than 2 GiB, if this were a large model"
        return content

    monkeypatch.setattr(serializer, "serialize_proto", limited)
    assert (folder / "encoder.onnx.data").stat().st_size > 2 << 20
    write_from(folder)(model().network, SIDE, tmp_path)
    quantise.quantise(tmp_path / "encoder.onnx", [model().frame.picture(picture())])
    assert {path.name for path in tmp_path.iterdir()} == {"encoder.onnx", "decoder.onnx"} | BESIDE


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("error", [WeightsError(got="no"), KeyboardInterrupt(), OSError(28, "No space left")])
@pytest.mark.parametrize("there", [False, True])
def test_nothing_is_left_of_an_export_that_fails(tmp_path, monkeypatch, error, there):
    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(exporting, "certify", fail)
    if there:
        (tmp_path / "bundle").mkdir()
    with pytest.raises(WriteError if isinstance(error, OSError) else type(error)):
        exporting.export(model(), tmp_path / ("bundle" if there else "a/b/bundle"), images=[picture()])
    assert [path.name for path in tmp_path.rglob("*")] == ["bundle"] * there


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(WriteError, match=r"exists and is not empty.*a new or an empty folder"):
        exporting.export(model(), tmp_path, images=[picture()])
    with pytest.raises(WriteError, match=r"mine exists and is a file"):
        exporting.export(model(), tmp_path / "mine", images=[picture()])
    with pytest.raises(WriteError, match=r"mine, which .*new.b is to lie in, is a file"):
        exporting.export(model(), tmp_path / "mine" / "new" / "b", images=[picture()])
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.usefixtures("ready")
def test_the_empty_folder_that_one_stands_in_is_filled_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = tempfile.mkdtemp  # from Python 3.12 on, an absolute path
    monkeypatch.setattr(tempfile, "mkdtemp", lambda *args, **kwargs: str(Path(made(*args, **kwargs)).absolute()))
    before = tmp_path.stat().st_ino
    exporting.export(model(), Path(), images=[picture()])
    assert Path().stat().st_ino == before == tmp_path.stat().st_ino
    assert {path.name for path in Path().iterdir()} == FILES
    assert load_bundle(Path()).card.name == model().card.name


@pytest.mark.usefixtures("ready")
def test_twice_in_a_row_is_refused_and_the_first_stays(tmp_path):
    (tmp_path / "bundle").mkdir()
    said = []
    exporting.export(model(), tmp_path / "bundle", images=[picture()], progress=lambda *args: said.append(args))
    stages = ["Writing the graphs", "Comparing with the original", "Comparing on onnxruntime"]
    assert said == [(name, n, n) for name in stages for n in (0, 1)]
    for _ in range(2):
        with pytest.raises(WriteError, match="not empty"):
            exporting.export(model(), tmp_path / "bundle", images=[picture()])
    assert load_bundle(tmp_path / "bundle")


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("there", [False, True])
def test_what_somebody_puts_there_meanwhile_stays(tmp_path, monkeypatch, there):
    def meanwhile(*_):
        (tmp_path / "bundle").mkdir(exist_ok=True)
        (tmp_path / "bundle" / "card.toml").write_text("mine")

    monkeypatch.setattr(exporting, "_require_likeness", lambda *_, **__: meanwhile())
    if there:
        (tmp_path / "bundle").mkdir()
    with pytest.raises(WriteError, match=r"has got card\.toml in it meanwhile" if there else "cannot write"):
        exporting.export(model(), tmp_path / "bundle", images=[picture()])
    assert [path.name for path in tmp_path.rglob("*")] == ["bundle", "card.toml"]
    assert (tmp_path / "bundle" / "card.toml").read_text() == "mine"


@pytest.mark.usefixtures("ready")
def test_files_that_were_moved_already_go_if_the_next_cannot(tmp_path, monkeypatch):
    rename = Path.rename

    def full(self, target):
        if self.name == "encoder.onnx":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(WriteError, match=r"cannot write .*No space left on device\. Free some space"):
        exporting.export(model(), tmp_path, images=[picture()])
    assert not list(tmp_path.iterdir())


def test_a_bundle_is_not_exported_again(folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["export", str(folder), "-o", str(tmp_path / "again")])
    assert left.value.code == 1
    said = capsys.readouterr().err
    assert "a bundle already" in said
    assert "Use the bundle as it is" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", [["onnxscript"], ["onnx", "onnxscript"]])
def test_what_is_not_installed_is_named_with_the_extra_that_has_it(tmp_path, monkeypatch, missing):
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError) as raised:
        exporting.export(model(), tmp_path / "b", images=[picture()])
    assert f"needs {', '.join(missing)}, not" in str(raised.value)
    assert raised.value.fix == "pip install 'samaritan[export]'"


def test_an_onnxscript_that_is_too_old_for_pytorch_is_named(tmp_path, monkeypatch):
    def too_old(*_args, **_kwargs):
        msg = "No module named 'onnxscript._framework_apis.torch_9'"
        raise ModuleNotFoundError(msg)

    monkeypatch.setattr(torch.onnx, "export", too_old)
    with pytest.raises(MissingExtraError, match=r"torch_9'\. Wanted a newer one\. pip install --upgrade onnx"):
        exporting.export(model(), tmp_path / "b", images=[picture()])
    assert not list(tmp_path.iterdir())


def test_the_extra_has_what_an_export_needs():
    extras = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "samaritan[torch]" in extras["export"]
    named = {requirement.split(">=")[0] for requirement in extras["export"] + extras["torch"]}
    assert named == {*exporting._PACKAGES, "samaritan[torch]"}


def test_an_image_is_wanted(tmp_path):
    with pytest.raises(ImageError, match="at least one"):
        exporting.export(model(), tmp_path / "b", images=[])


def test_the_default_model_cannot_be_exported(tmp_path):
    with pytest.raises(WeightsError, match="ONNX already"):
        exporting.export(load_model(), tmp_path / "b", images=[picture()])


def copied(folder, tmp_path):
    target = tmp_path / "copy"
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("name", sorted(FILES - {"card.toml", "parity.json"}))
def test_damage_is_named(folder, tmp_path, name):
    target = copied(folder, tmp_path)
    whole = (target / name).read_bytes()
    (target / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ChecksumError, match=f"{name} in"):
        load_bundle(target)
    (target / name).unlink()
    with pytest.raises(WeightsError, match=f"no file {name} in"):
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


def test_a_process_that_cannot_be_started_is_no_fault_of_the_folder(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(ResourceError, match=r"model 'tiny' in a process of its own: No space left.*TMPDIR"):
        peak_memory(Source("tiny"), picture())


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
