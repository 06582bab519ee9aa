import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.adapt.conftest import blobs

from samaritan.adapt.adapter import CARD, WEIGHTS, AdapterCard, adapted, save_adapter
from samaritan.adapt.base import base_of
from samaritan.adapt.census import Looks, census
from samaritan.adapt.kind import Course
from samaritan.adapt.lesson import Expected, Lesson, affordable, expect, teach
from samaritan.adapt.methods import METHODS
from samaritan.adapt.prompted.kind import Prompted
from samaritan.core.errors import (
    CheckpointMismatchError,
    ChecksumError,
    OutOfMemoryBudgetError,
    TrainingError,
    WeightsError,
)
from samaritan.core.prompts import Box, Prompts
from samaritan.infer.cache import content_key
from samaritan.infer.embedder import Embedder
from samaritan.models import load_model, model_card


@pytest.fixture
def lesson(data):
    base = base_of("tiny")
    looks = Looks(base.card)
    course = Course(data=data, census=census(data.root, data.cases, looks), looks=looks, steps=2, images=2)
    return Lesson(base=base, kind=Prompted(), method="lora", settings={"rank": 2}, course=course)


def answer(model):
    image, _ = blobs(11)
    embedding = Embedder(model, image).embedding(("k", 0))
    return model.decode(embedding, Prompts(image.geometry, (Box((20, 20, 0), (50, 50, 1)),))).logits


@pytest.mark.slow
def test_what_was_taught_is_a_model_by_its_folder_and_the_same_twice(lesson, tmp_path):
    card, result = teach(lesson, tmp_path / "run", name="mine")
    assert not result.warnings
    model = load_model(str(tmp_path / "run"))
    assert (model.card.name, model.card.base, model.card.licence) == ("mine", "tiny", "Apache-2.0")
    assert model_card(str(tmp_path / "run")).title == model.card.title
    apart = np.abs(answer(model) - answer(load_model("tiny"))).max()
    assert apart > 1e-3
    teach(lesson, tmp_path / "again", name="mine")
    one, other = (load_file(tmp_path / name / WEIGHTS) for name in ("run", "again"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    told = (tmp_path / "run" / CARD).read_text()
    assert not any(case.id in json.loads(told) for case in lesson.course.data.cases)
    assert AdapterCard.read(tmp_path / "run") == card


@pytest.mark.slow
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(lesson, tmp_path):
    class Cut(Exception):  # noqa: N818 - no error
        pass

    def stop(entry):
        if entry["step"] == 2:
            raise Cut

    longer = replace(lesson, course=replace(lesson.course, steps=3))
    teach(longer, tmp_path / "whole", name="a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("samaritan.adapt.lesson._SAVED_S", 0.0)
        with pytest.raises(Cut):
            teach(longer, tmp_path / "cut", name="a", on_step=stop)
        teach(longer, tmp_path / "cut", name="a")
    one, other = (load_file(tmp_path / name / WEIGHTS) for name in ("whole", "cut"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_an_adapter_of_another_base_or_a_damaged_one_is_refused(lesson, tmp_path):
    run = tmp_path / "run"
    teach(lesson, run, name="a")
    told = json.loads((run / CARD).read_text())
    (run / CARD).write_text(json.dumps(told | {"base_sha256": "0" * 64}))
    with pytest.raises(CheckpointMismatchError, match="tiny with weights 000000"):
        adapted(run)
    (run / CARD).write_text(json.dumps(told | {"settings": {"rank": 3}}))
    with pytest.raises(CheckpointMismatchError, match="lora"):
        adapted(run)
    (run / CARD).write_text(json.dumps(told | {"version": 9}))
    with pytest.raises(WeightsError, match="version 9"):
        adapted(run)
    (run / CARD).write_text("{}")
    with pytest.raises(WeightsError, match="no card of an adapter"):
        adapted(run)
    (run / CARD).write_text(json.dumps(told | {"sha256": "0" * 64}))
    with pytest.raises(ChecksumError, match="000000000000…, as its card says"):
        adapted(run)
    (run / CARD).write_text(json.dumps(told))
    (run / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="missing or damaged"):
        adapted(run)


def test_what_it_takes_is_measured(lesson):
    found = expect(lesson)
    assert 0 < found.learning < found.parameters
    assert found.step_s > 0
    assert found.memory > 1e7


def test_a_model_that_cannot_be_adapted():
    with pytest.raises(TrainingError, match="otsu, which cannot be adapted"):
        base_of("otsu")


def test_what_is_kept_of_images_is_an_adapter_s_own(lesson, tmp_path):
    """Embeddings are kept by the hash on a model's card: two adapters of one name must differ in it."""
    cards = []
    for number, folder in enumerate(("one", "two")):
        card = replace(lesson.card, name="mine")
        (tmp_path / folder).mkdir()
        save_adapter(tmp_path / folder, card, {"x": torch.full((2,), float(number))})
        cards.append(model_card(str(tmp_path / folder)))
    image, _ = blobs(3)
    assert len({card.sha256 for card in [*cards, lesson.base.card]}) == 3
    assert content_key(image, cards[0]) != content_key(image, cards[1])


@pytest.mark.slow
@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_is_taught_and_loaded(lesson, tmp_path, method):
    teach(replace(lesson, method=method, settings={}), tmp_path / "run", name="mine")
    network, _, card = adapted(tmp_path / "run")
    assert card.method == method
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_batches_that_memory_does_not_suffice_for_are_halved(lesson, monkeypatch):
    asked = []

    def expect_of(one):
        asked.append((one.course.images, one.accumulate))
        if one.course.images > 3:
            raise (
                torch.OutOfMemoryError
                if one.course.images > 7
                else RuntimeError("DefaultCPUAllocator: can't allocate memory")
            )
        return Expected(1, 2, 0.1, 3)

    monkeypatch.setattr("samaritan.adapt.lesson.expect", expect_of)
    large = replace(lesson, course=replace(lesson.course, images=13))
    found, _ = affordable(large)
    assert asked == [(13, 1), (6, 3), (3, 6)]
    assert found.loop.accumulate == 6
    monkeypatch.setattr("samaritan.adapt.lesson.expect", lambda _: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(OutOfMemoryBudgetError, match="even with one picture"):
        affordable(large)
    monkeypatch.setattr("samaritan.adapt.lesson.expect", lambda _: (_ for _ in ()).throw(RuntimeError("other")))
    with pytest.raises(RuntimeError, match="other"):
        affordable(large)


def test_checkpointing_changes_no_gradient(lesson):
    gradients = []
    for one in (lesson, replace(lesson, checkpointing=True)):
        network, _ = one.prepared()
        torch.manual_seed(0)
        sum(one.task(network).losses(network.eval(), one.task(network).batch(0)).values()).backward()
        gradients.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    first, second = gradients
    assert first.keys() == second.keys()
    assert any(name.startswith("encoder.backbone.stages") for name in first)
    for name, gradient in first.items():
        torch.testing.assert_close(second[name], gradient, rtol=1e-3, atol=1e-5)
