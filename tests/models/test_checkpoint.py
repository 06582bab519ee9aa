"""Whatever a checkpoint file is, it is read, or refused in words; nothing that is in it is ever run."""

import argparse
import os
import pathlib
import pickle
import warnings
import zipfile
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.models.toys import FAMILY, Toy, publish, use_toys

from samaritan.core.errors import (
    CheckpointMismatchError,
    ChecksumError,
    MissingExtraError,
    ReadError,
    ResourceError,
    UnknownNameError,
    UnsafeCheckpointError,
    WeightsError,
)
from samaritan.models import checkpoint as module
from samaritan.models import family, load_model
from samaritan.models.checkpoint import read_checkpoint, sha256_of
from samaritan.models.family import FAMILIES, load_module, recognise
from samaritan.models.inspection import inspect
from samaritan.models.published import load_file, load_published, published, published_as

old_form = partial(torch.save, _use_new_zipfile_serialization=False)
FORMS = {"zip": torch.save, "old": old_form, "safetensors": save_file}


def weights(width=4):
    """Return a toy's weights, each different."""
    state = Toy(width).state_dict()
    return {
        name: torch.arange(1.0, 1 + tensor.numel()).reshape(tensor.shape).to(tensor.dtype)
        for name, tensor in state.items()
    }


def names(path):
    return set(read_checkpoint(path).tensors)


@pytest.fixture
def toys(monkeypatch, tmp_path):
    use_toys(monkeypatch, tmp_path)
    publish("toy")
    publish("toy-large", variant="toy-large", file="large.pth")
    return tmp_path


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


# --- what is read ---


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.bin", "w"])
def test_the_content_tells_the_form_and_not_the_name(form, tmp_path, name):
    form(weights(), tmp_path / name)
    found = read_checkpoint(tmp_path / name)
    assert found.shapes == {key: tuple(tensor.shape) for key, tensor in weights().items()}
    torch.testing.assert_close(dict(found.tensors), weights())
    assert found.sha256 == sha256_of(tmp_path / name)


WRAPPED = {
    "state_dict": {"epoch": 3, "state_dict": weights()},
    "model and optimizer": {"model": weights(), "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "epoch": 1},
    "twice": {"model": {"state_dict": weights()}},
    "an optimizer saved whole": {
        "model": weights(),
        "optimizer": torch.optim.Adam([torch.nn.Parameter(torch.ones(2))]),
    },
    "beside a loss that is a tensor": {
        "best_loss": torch.tensor(0.1),
        "state_dict": weights(),
        "step": torch.tensor(1),
    },
    "nnU-Net": {"network_weights": weights(), "optimizer_state": {"state": {}}, "trainer_name": "nnUNetTrainer"},
    "data parallel": {f"module.{name}": tensor for name, tensor in weights().items()},
    "compiled": {f"_orig_mod.module.{name}": tensor for name, tensor in weights().items()},
    "Lightning": {"state_dict": {f"model.{name}": tensor for name, tensor in weights().items()}},
    "micro-sam": {"model_state": {f"sam.{name}": tensor for name, tensor in weights().items()}},
    "parameters": {name: torch.nn.Parameter(t) if t.is_floating_point() else t for name, t in weights().items()},
    "options, scores, paths and arrays beside it": {
        "model": weights(),
        "args": argparse.Namespace(lr=0.1, data=pathlib.Path("data"), device=torch.device("cpu"), shape=(1, 2)),
        "best": np.float64(0.9),
        "counts": [np.int64(3), np.float32(1), np.bool_(True)],
        "curve": np.arange(6.0).reshape(2, 3),
    },
}


@pytest.mark.parametrize("save", [torch.save, old_form], ids=["zip", "old"])
@pytest.mark.parametrize("content", WRAPPED.values(), ids=WRAPPED)
def test_what_training_scripts_wrap_around_weights_is_taken_off(toys, content, save):
    path = toys / "mine.pth"
    save(content, path)
    assert names(path) == set(weights())
    model = load_file(path, device="cpu")
    torch.testing.assert_close(dict(model.module.state_dict()), weights())
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_become_float32(toys, form, dtype):
    path = toys / "half.pth"
    form({name: t.to(dtype) if t.is_floating_point() else t for name, t in weights().items()}, path)
    state = load_file(path, device="cpu").module.state_dict()
    assert state["first.weight"].dtype == torch.float32
    assert state["norm.num_batches_tracked"].dtype == torch.int64
    torch.testing.assert_close(dict(state), weights())


def test_the_file_may_go_once_the_model_is_there(toys, form):
    path = toys / "gone.pth"
    form(weights(), path)
    model = load_file(path, device="cpu")
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    torch.testing.assert_close(dict(model.module.state_dict()), weights())


# --- what is damaged ---


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.99])
def test_a_file_that_was_cut_short_is_refused(form, tmp_path, share):
    path = tmp_path / "cut.pth"
    form({"large": torch.ones(200, 200), **weights()}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match=r"cut\.pth is damaged.*Copy or download it again"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>404", "is a web page"),
        (b"\n<html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\x08\x08\x12\x07pytorch", "is an ONNX graph"),
        (b"weights, honestly", "is no checkpoint: it begins with b'weights,'"),
        (b"PK\x03\x04", "damaged or cut short"),
        ((1 << 62).to_bytes(8, "little") + b"{}", "damaged or cut short"),
        (pickle.dumps({"a": 1}, protocol=2), "damaged or cut short"),
    ],
)
def test_what_is_no_checkpoint_is_told(tmp_path, content, words):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"model": {"epoch": 3}}, [torch.ones(3)], torch.ones(3)])
def test_a_file_without_named_tensors_is_told(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="holds no tensors"):
        read_checkpoint(tmp_path / "w.pth")


def test_a_file_that_is_not_there_and_a_folder_are_told(tmp_path):
    with pytest.raises(ReadError, match="No such file"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(ReadError, match=r"is a folder\. Name the file in it"):
        read_checkpoint(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_what_may_never_end_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", pathlib.Path("/dev/zero")):
        with pytest.raises(ReadError, match="is no regular file"):
            read_checkpoint(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    torch.save(weights(), tmp_path / "w.pth")
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    monkeypatch.setattr(module, "sha256_of", None)  # nor looked through for its hash
    with pytest.raises(ResourceError, match="at most"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize("part", ["data.pkl", "data/0"])
def test_a_single_bit_in_an_archive_is_noticed(tmp_path, part):
    path = tmp_path / "w.pth"
    torch.save({"first.weight": torch.ones(2, 2)}, path)
    with zipfile.ZipFile(path) as archive:
        inside = archive.read(f"w/{part}")
    content = bytearray(path.read_bytes())
    content[content.find(inside) + len(inside) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"damaged or cut short \(Bad CRC-32 for file 'w/{part}'\)"):
        read_checkpoint(path)


def test_an_archive_without_checksums_is_read(toys):
    torch.serialization.set_crc32_options(compute_crc32=False)
    try:
        torch.save(weights(), toys / "mine.pth")
    finally:
        torch.serialization.set_crc32_options(compute_crc32=True)
    with zipfile.ZipFile(toys / "mine.pth") as archive:
        assert not any(member.CRC for member in archive.infolist())
    assert names(toys / "mine.pth") == set(weights())


@pytest.mark.parametrize(("place", "value"), [(6, 255), (8, 1), (46, 255)], ids=["version", "encrypted", "name"])
def test_an_archive_whose_list_is_damaged_is_refused(tmp_path, place, value):
    torch.save(weights(), tmp_path / "w.pth")
    content = bytearray((tmp_path / "w.pth").read_bytes())
    entry = content.rfind(b"PK\x01\x02")
    content[entry + 8 + 1] |= 8  # names are UTF-8
    content[entry + place] = value
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match="damaged or cut short"):
        read_checkpoint(tmp_path / "w.pth")


def _nested(levels):
    """Return a pickle of so many mappings in each other."""
    return b"\x80\x02" + b"}X\x05\0\0\0model" * levels + b"}" + b"s" * levels + b"."


def test_mappings_in_each_other_however_deep_or_often_are_looked_through_soon(tmp_path):
    torch.save({"model": {}}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    _zip(tmp_path / "deep.pth", {**members, "plain/data.pkl": _nested(5000)})
    often, itself = {}, {}
    for _ in range(12):
        often = dict.fromkeys(module._WRAPPERS, often)
    itself["model"] = itself
    torch.save(often, tmp_path / "often.pth")
    torch.save(itself, tmp_path / "itself.pth")
    for name in ("deep.pth", "often.pth", "itself.pth"):
        with pytest.raises(WeightsError, match="holds no tensors"):
            read_checkpoint(tmp_path / name)
    itself["first.bias"] = torch.ones(2)
    torch.save(itself, tmp_path / "some.pth")
    assert names(tmp_path / "some.pth") == {"first.bias"}


def test_prefixes_without_end_are_taken_off_a_few_times_only(tmp_path):
    torch.save({"module." * 3000 + "bias": torch.ones(2)}, tmp_path / "w.pth")
    (name,) = names(tmp_path / "w.pth")
    assert name.startswith("module.")


def test_names_that_a_terminal_would_obey_are_escaped(tmp_path):
    torch.save({"\x1b[2J\rfine": torch.ones(2), "\u202egnp\ud800": torch.ones(2)}, tmp_path / "w.pth")
    assert names(tmp_path / "w.pth") == {r"\x1b[2J\rfine", r"\u202egnp\ud800"}


# --- what would run code ---


class Payload:
    """Makes a file when it is unpickled without restraint."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (str(self.witness),)


@pytest.mark.parametrize("save", [torch.save, old_form], ids=["zip", "old"])
@pytest.mark.parametrize(
    "wrap", [lambda bad: bad, lambda bad: {"model": weights(), "extra": bad}], ids=["alone", "beside"]
)
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, save, wrap):
    path, witness = tmp_path / "w.pth", tmp_path / "it ran"
    save(wrap(Payload(witness)), path)
    with pytest.raises(UnsafeCheckpointError, match=rf"asks to run {os.mkdir.__module__}\.mkdir when it is read"):
        read_checkpoint(path)
    assert not witness.exists()
    torch.load(path, weights_only=False)  # the payload is one
    assert witness.exists()


def test_a_whole_network_in_a_pickle_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(UnsafeCheckpointError, match=r"torch\.nn\.modules\.linear\.Linear.*safetensors"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize("save", [torch.save, old_form], ids=["zip", "old"])
def test_a_pickle_of_another_protocol_is_refused_for_what_it_is(tmp_path, save):
    save(weights(), tmp_path / "w.pth", pickle_protocol=4)
    with pytest.raises(UnsafeCheckpointError, match="cannot be read without running it"):
        read_checkpoint(tmp_path / "w.pth")


def _zip(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_an_archive_that_could_unpack_to_any_size_is_refused(tmp_path):
    torch.save(weights(), tmp_path / "stored.pth")
    with zipfile.ZipFile(tmp_path / "stored.pth") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    _zip(tmp_path / "w.pth", members, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UnsafeCheckpointError, match="compressed or overlapping members"):
        read_checkpoint(tmp_path / "w.pth")
    content = bytearray((tmp_path / "stored.pth").read_bytes())
    entry = content.rfind(b"PK\x01\x02")  # of the last member, in the list at the end
    content[entry + 20 : entry + 28] = 2 * (1 << 30).to_bytes(4, "little")  # what it takes, packed and unpacked
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(UnsafeCheckpointError, match="compressed or overlapping members"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_are_something_else_are_told(tmp_path):
    path = tmp_path / "w.pth"
    for members in ({"letter.txt": "dear"}, {"one/data.pkl": b"", "two/data.pkl": b""}):
        _zip(path, members)
        with pytest.raises(WeightsError, match="is a zip archive, but no checkpoint"):
            read_checkpoint(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and its files are still around
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises(WeightsError, match="is a TorchScript program"):
        read_checkpoint(path)


# --- which model it is ---


def test_a_checkpoint_is_recognised_by_its_tensors(toys):
    torch.save(weights(6), toys / "mine.pth")
    found = recognise(read_checkpoint(toys / "mine.pth"))
    assert (found.family, found.variant, found.difference.none) == ("toy", "toy-large", True)
    card = load_file(toys / "mine.pth", device="cpu").card
    assert (card.name, card.sha256) == ("toy-large", sha256_of(toys / "mine.pth"))
    assert card.training_data == ("unknown",)
    assert not card.scores
    assert "of your own" in card.title


def test_a_checkpoint_of_another_size_names_tensors_and_what_it_is(toys):
    torch.save(weights(6), toys / "mine.pth")
    with pytest.raises(CheckpointMismatchError) as told:
        load_published("toy", weights=toys / "mine.pth", device="cpu")
    text = str(told.value)
    assert "7 of another shape: first.bias [6] for [4], first.weight [6, 3] for [4, 3]" in text
    assert "Wanted the tensors of toy" in text
    assert f"It is a checkpoint of toy-large: use --model {toys / 'mine.pth'}" in text


def test_a_checkpoint_that_was_changed_names_tensors_and_what_it_is_most_like(toys):
    changed = {**weights(6), "adapter.weight": torch.ones(2)}
    del changed["last.bias"]
    torch.save(changed, toys / "mine.pth")
    with pytest.raises(CheckpointMismatchError) as told:
        load_published("toy", weights=toys / "mine.pth", device="cpu")
    assert "looks most like toy-large (8 of 10 tensors are alike)" in str(told.value)
    with pytest.raises(CheckpointMismatchError) as told:
        load_file(toys / "mine.pth", device="cpu")
    for part in ("1 missing: last.bias", "1 not known: adapter.weight", "Wanted the tensors of toy-large", "8 of 10"):
        assert part in str(told.value)


def test_a_checkpoint_of_no_known_family_says_so(toys):
    torch.save({f"layer{n}.weight": torch.ones(2) for n in range(9)}, toys / "resnet.pth")
    with pytest.raises(CheckpointMismatchError) as told:
        load_file(toys / "resnet.pth", device="cpu")
    assert "9 tensors of no family that is known here: layer0.weight, layer1.weight, layer2.weight" in str(told.value)
    assert str(told.value).endswith("and 6 more. Wanted those of one of: toy.")


def test_tensors_that_differ_are_called_as_in_the_file_where_they_are_in_it(toys, monkeypatch):
    ours = replace(FAMILY, rename=lambda tensors: {name.replace("start", "first"): t for name, t in tensors.items()})
    monkeypatch.setitem(FAMILIES._loaded, "toy", ours)
    state = {name.replace("first", "start"): tensor for name, tensor in weights().items()}
    state |= {"start.bias": torch.ones(9), "start.more": torch.ones(2)}
    del state["start.weight"]
    torch.save(state, toys / "mine.pth")
    with pytest.raises(CheckpointMismatchError) as told:
        load_file(toys / "mine.pth", device="cpu")
    for part in (
        "1 missing: first.weight (as the model calls them);",
        "1 not known: start.more;",
        "1 of another shape: start.bias [9] for [4]",
        "7 of 10 tensors are alike",
    ):
        assert part in str(told.value)


def test_no_more_models_are_looked_at_once_one_fits(toys, monkeypatch):
    torch.save(weights(), toys / "mine.pth")
    made, state_of = [], family._state_of
    monkeypatch.setattr(family, "_state_of", lambda *names: made.append(names) or state_of(*names))
    assert recognise(read_checkpoint(toys / "mine.pth")).variant == "toy"
    assert made == [("toy", "toy")]


# --- what no network can have ---


@pytest.mark.filterwarnings("ignore")  # half of these are deprecated or experimental, and in files all the same
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda tensor: tensor.to(torch.complex64), "is complex"),
        (lambda tensor: tensor.to_sparse(), "is sparse"),
        (lambda tensor: tensor.to("meta"), "is without values"),
        (lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8), "is quantised"),
        (lambda tensor: torch.nested.nested_tensor([tensor, tensor]), "is nested"),
        (lambda tensor: tensor.to(torch.int8), "has values of type int8"),
        (lambda tensor: tensor * float("nan"), "has values that are infinite or no numbers"),
        (lambda tensor: tensor.double() * 1e300, "has values that are infinite or no numbers"),
    ],
)
def test_values_that_no_network_can_have_are_told_by_the_name_of_their_tensor(toys, spoil, words):
    state = weights()
    torch.save({**state, "last.weight": spoil(state["last.weight"])}, toys / "mine.pth")
    with pytest.raises(WeightsError, match=rf"tensor last\.weight in mine\.pth {words}"):
        load_file(toys / "mine.pth", device="cpu")
    assert words in str(inspect(toys / "mine.pth").trouble)


def test_what_a_network_counts_with_is_whole_again_where_weights_were_averaged(toys):
    state = weights()
    torch.save({**state, "norm.num_batches_tracked": torch.tensor(7.0)}, toys / "mine.pth")
    found = load_file(toys / "mine.pth", device="cpu").module.state_dict()["norm.num_batches_tracked"]
    assert (found.item(), found.dtype) == (7, torch.int64)


def test_the_module_gets_exactly_the_weights_of_its_variant(toys):
    torch.save(weights(), toys / "mine.pth")
    checkpoint = read_checkpoint(toys / "mine.pth")
    assert load_module(checkpoint, "toy", "toy").training is False
    with pytest.raises(CheckpointMismatchError):
        load_module(checkpoint, "toy", "toy-large")


def test_a_mistyped_name_with_a_dot_is_a_name_and_not_a_file(toys):
    publish("toy2.1", variant="toy", file="other.pth")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'toy2\.1'"):
        load_model("toy2.2")
    with pytest.raises(ReadError, match=r"toy\.safetensors cannot be read"):
        load_model("toy.safetensors", device="cpu")


# --- published models ---


def placed(name="toy", width=4):
    path = published(name).path
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights(width), path)
    return path


def test_a_published_checkpoint_that_is_not_here_says_how_to_get_it(toys):
    with pytest.raises(WeightsError, match=r"samaritan models pull toy, or put toy\.pth there yourself"):
        load_model("toy", device="cpu")


def test_a_published_checkpoint_is_that_model_wherever_it_lies(toys):
    path = placed()
    publish("toy", sha256=sha256_of(path))
    for model in (load_model("toy", device="cpu"), load_model(str(path), device="cpu")):
        assert model.card.title == "A toy"
        assert model.card.scores == {"dice": 0.5}
        assert model.card.sha256 == sha256_of(path)
    assert published_as(sha256_of(path)) == ["toy"]


def test_another_file_with_the_same_weights_is_that_model_too(toys):
    path = toys / "renamed.safetensors"
    save_file(weights(), path)
    publish("toy", sha256="0" * 64, also=[sha256_of(path)])
    assert load_file(path, device="cpu").card.title == "A toy"
    assert load_published("toy", weights=path, device="cpu").card.scores
    assert published_as(sha256_of(path)) == ["toy"]


def test_what_is_not_the_published_file_is_refused(toys):
    path = placed()
    publish("toy", sha256="0" * 64)
    with pytest.raises(ChecksumError, match=r"Wanted 000000000000…, as its card says.*models pull toy --force"):
        load_model("toy", device="cpu")
    assert "of your own" in load_model("toy", weights=path, device="cpu").card.title


def test_what_lies_there_is_checked_before_it_is_read(toys):
    placed().write_bytes(b"anything")
    publish("toy", sha256="0" * 64)
    with pytest.raises(ChecksumError, match="models pull toy --force"):
        load_model("toy", device="cpu")


def test_where_no_hash_is_published_the_file_is_taken_until_one_is_recorded(toys):
    path = placed()
    card = load_model("toy", device="cpu").card
    assert (card.title, card.sha256) == ("A toy", sha256_of(path))
    path.with_name("toy.pth.sha256").write_text(f"{'0' * 64}  toy.pth\n")
    with pytest.raises(ChecksumError, match="as when it was fetched"):
        load_model("toy", device="cpu")


def test_a_device_that_is_not_there_is_told_before_anything_is_read(toys, monkeypatch):
    placed().write_bytes(b"not even a checkpoint")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourceError, match=r"device 'cuda', which PyTorch .* does not see here"):
        load_model("toy", device="cuda")
    with pytest.raises(ResourceError, match="'cuda'"):
        load_model(str(published("toy").path), device="cuda")
    with pytest.raises(UnknownNameError, match="unknown device 'gpu'"):
        load_model("toy", device="gpu")


def test_without_pytorch_one_is_told_what_to_install(toys, monkeypatch):
    placed()
    monkeypatch.setitem(__import__("sys").modules, "samaritan.models.planar.torch_network", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'samaritan\[torch\]'"):
        load_model("toy", device="cpu")


NETWORK = ("image_encoder.pos_embed", "prompt_encoder.no_mask_embed.weight", "mask_decoder.iou_token.weight")


def network(prefix="", size=12):
    """Return tensors of a network: the named ones, and more of its encoder's."""
    names = [*NETWORK, *(f"image_encoder.blocks.{n}.bias" for n in range(size - len(NETWORK)))]
    return {f"{prefix}{name}": torch.ones(2) for name in names}


@pytest.mark.parametrize("prefix", ["module.", "model.", "sam_encoder.", "segmentor.backbone."])
def test_a_prefix_is_found_though_a_loss_s_tensor_lies_beside(tmp_path, prefix):
    torch.save({"state_dict": network(prefix) | {"criterion.weight": torch.ones(2)}}, tmp_path / "pl.ckpt")
    found = read_checkpoint(tmp_path / "pl.ckpt")
    assert set(found.tensors) == set(network())
    assert found.left_out == ("criterion.weight",)
    torch.save(network(prefix), tmp_path / "alone.pth")
    assert (names(tmp_path / "alone.pth"), read_checkpoint(tmp_path / "alone.pth").left_out) == (set(network()), ())


def test_what_is_not_most_of_a_file_is_not_taken_for_its_network(tmp_path):
    two = network("student.") | network("teacher.")
    torch.save(two, tmp_path / "two.pth")
    assert names(tmp_path / "two.pth") == set(two)
    much = network("model.") | {f"other.{n}": torch.ones(1) for n in range(6)}
    torch.save(much, tmp_path / "much.pth")
    assert names(tmp_path / "much.pth") == set(much)
    plain = network() | {"criterion.weight": torch.ones(2)}  # told as a difference
    torch.save(plain, tmp_path / "plain.pth")
    assert names(tmp_path / "plain.pth") == set(plain)


@pytest.mark.parametrize("key", ["params", "generator", "student"])
def test_wrappers_that_nobody_has_named_are_looked_into(tmp_path, key):
    optimiser = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({key: network("module."), "optimizer": optimiser, "epoch": 3}, tmp_path / "w.pth")
    assert names(tmp_path / "w.pth") == set(network())


def test_two_networks_in_a_file_are_told(tmp_path):
    torch.save({"student": network(), "teacher": network(size=20)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"holds tensors in teacher \(20\), student \(12\)"):
        read_checkpoint(tmp_path / "w.pth")
