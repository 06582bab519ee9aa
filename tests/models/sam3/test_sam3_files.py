"""Files of SAM 3: of detector and tracker together, and of one alone."""

import functools
import json
import shutil

import pytest
import torch
from safetensors.torch import save_file
from tests.models.sam3.reference import FILE, TRACKER, their_detector, their_tracker, whole, write_words
from tests.models.toys import Toy
from transformers import Sam3TrackerConfig, Sam3TrackerModel, Sam3VideoConfig, Sam3VideoModel

from samaritan.core.errors import CheckpointMismatchError, WeightsError
from samaritan.models import published, pull
from samaritan.models.checkpoint import Checkpoint, read_checkpoint
from samaritan.models.family import Difference, load_module, recognise
from samaritan.models.planar import PlanarModel
from samaritan.models.published import load_file, load_published
from samaritan.models.sam3.concept import ConceptModel
from samaritan.models.sam3.keys import to_detector, to_tracker

FAMILY = {"sam3": to_tracker, "sam3-concept": to_detector}


@functools.cache
def official():
    """Return the names and shapes in the official file."""
    with torch.device("meta"):
        state = Sam3VideoModel(Sam3VideoConfig()).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize("name", FAMILY)
def test_every_tensor_of_the_official_file_has_its_place(name):
    with torch.device("meta"):
        module = published.FAMILIES.get(name).variants[name]()
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert Difference.between(FAMILY[name](official()), wanted).none


def test_the_official_file_is_the_tracker_unless_told_otherwise(tmp_path):
    tensors = {name: torch.empty(shape, device="meta") for name, shape in official().items()}
    found = recognise(Checkpoint(tmp_path / "renamed.bin", tensors, ""))
    assert (found.family, found.variant, found.difference.none) == ("sam3", "sam3", True)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("name", "theirs"), [("sam3", their_tracker), ("sam3-concept", their_detector)])
def test_the_weights_are_those_that_transformers_reads(folder, name, theirs):
    state = torch.random.get_rng_state()
    ours = load_module(read_checkpoint(folder / FILE), name, name).state_dict()
    wanted = theirs(folder).state_dict()
    assert ours.keys() == wanted.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in wanted.items())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.usefixtures("narrow")
def test_files_of_the_tracker_alone_are_read(folder, tmp_path):
    alone = their_tracker(folder).state_dict()
    save_file(alone, tmp_path / "plain.safetensors")
    fresh = Sam3TrackerModel(Sam3TrackerConfig(**TRACKER))  # one that was read has the names that it was read by
    fresh.load_state_dict(alone)
    fresh.save_pretrained(tmp_path)
    for name in ("plain.safetensors", FILE):
        checkpoint = read_checkpoint(tmp_path / name)
        assert recognise(checkpoint).variant == "sam3"
        ours = load_module(checkpoint, "sam3", "sam3").state_dict()
        assert all(torch.equal(ours[name], tensor) for name, tensor in alone.items())


@pytest.mark.usefixtures("narrow")
def test_files_of_the_detector_alone_are_read(folder, tmp_path):
    their_detector(folder).save_pretrained(tmp_path)
    shutil.copy(folder / "tokenizer.json", tmp_path)
    assert recognise(read_checkpoint(tmp_path / FILE)).variant == "sam3-concept"
    assert isinstance(load_file(tmp_path / FILE, device="cpu"), ConceptModel)


@pytest.mark.usefixtures("narrow")
def test_one_file_serves_both(folder):
    assert isinstance(load_file(folder / FILE, device="cpu"), PlanarModel)
    assert isinstance(load_published("sam3-concept", weights=folder / FILE, device="cpu"), ConceptModel)


@pytest.mark.usefixtures("narrow")
def test_files_of_both_that_were_not_made_by_meta_are_read(tmp_path):
    whole().save_pretrained(tmp_path)  # with the tracker's prefix twice
    write_words(tmp_path / "tokenizer.json")
    found = read_checkpoint(tmp_path / FILE)
    for name, rename in FAMILY.items():
        ours = load_module(found, name, name).state_dict()
        wanted = rename(whole().state_dict())
        assert all(torch.equal(ours[name], tensor) for name, tensor in wanted.items())


@pytest.mark.usefixtures("narrow")
def test_another_family_s_file_is_refused(tmp_path):
    save_file(Toy(4).state_dict(), tmp_path / "toy.safetensors")
    for name in FAMILY:
        with pytest.raises(CheckpointMismatchError, match=r"of no family that is known here: first\.bias"):
            load_module(read_checkpoint(tmp_path / "toy.safetensors"), name, name)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", FAMILY)
def test_a_file_that_lacks_a_tensor_is_refused_and_told_what_it_is(name, tmp_path):
    tensors = {name: tensor.clone() for name, tensor in whole().state_dict().items()}
    for part in ("detector_model.text_projection.bias", "tracker_neck.fpn_layers.0.proj1.bias"):
        del tensors[part]
    save_file(tensors, tmp_path / FILE)
    with pytest.raises(CheckpointMismatchError, match=r"1 missing: .* tensors are alike|1 missing: .* most like sam3"):
        load_module(read_checkpoint(tmp_path / FILE), name, name)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("table", ["none", "damaged", "too large"])
def test_without_its_table_of_words_the_detector_is_refused(folder, tmp_path, table):
    shutil.copy(folder / FILE, tmp_path)
    if table == "damaged":
        (tmp_path / "tokenizer.json").write_text("{")
    elif table == "too large":
        content = json.loads((folder / "tokenizer.json").read_text())
        content["model"]["vocab"]["more"] = max(content["model"]["vocab"].values()) + 1
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=r"tokenizer\.json.*models pull sam3-concept"):
        load_published("sam3-concept", weights=tmp_path / FILE, device="cpu")
    load_published("sam3", weights=tmp_path / FILE, device="cpu")  # which reads no words


def test_both_are_fetched_into_one_folder_and_the_words_with_the_detector(monkeypatch, tmp_path):
    monkeypatch.setenv("SAMARITAN_MODELS", str(tmp_path))
    brought = []

    def download(wanted, _):
        brought.append(wanted.url.rpartition("/")[2])
        wanted.part.write_bytes(b"0")
        return ""

    monkeypatch.setattr(pull, "download", download)
    both = published.published("sam3"), published.published("sam3-concept")
    path = pull.pull("sam3", accept_licence=True)
    assert [known.path for known in both] == [path, path]
    assert [bool(known.missing) for known in both] == [False, True]
    with pytest.raises(WeightsError, match=r"Wanted .*tokenizer\.json"):
        load_published("sam3-concept")
    pull.pull("sam3-concept", accept_licence=True)
    assert brought == [FILE, "tokenizer.json"]
    assert not both[1].missing
