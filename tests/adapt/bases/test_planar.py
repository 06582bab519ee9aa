"""Every family of planes is taught to be prompted and to find classes, with small networks and weights by chance."""

import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.models.sam2.reference import SMALL
from torch import nn

from samaritan.adapt.bases.planar import base
from samaritan.adapt.census import Looks, census
from samaritan.adapt.framing import scaled
from samaritan.adapt.kind import Course, prepared
from samaritan.adapt.learnt import learnt_names
from samaritan.adapt.lesson import Lesson
from samaritan.adapt.methods import settings_of
from samaritan.adapt.prompted.kind import Prompted
from samaritan.adapt.semantic.kind import Semantic
from samaritan.core.errors import TrainingError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.models import mobile_sam, sam, sam2, sam_hq, sam_med2d
from samaritan.models.mobile_sam import MobileSam
from samaritan.models.planar import FrameSpec
from samaritan.models.published import Opened, published

SIDE = 64
TOYS = {
    "sam-vit-b": partial(sam.build, 32, 4, 2, side=SIDE),
    "medsam": partial(sam.build, 32, 4, 2, side=SIDE),
    "sam-hq-vit-b": partial(sam_hq.build, 32, 4, 2, side=SIDE),
    "sam-med2d": partial(sam_med2d.build, 32, 4, 2, adapters=True, side=SIDE),
    "mobile-sam": partial(MobileSam, 256, 4),
    "sam2.1-tiny": partial(sam2.build_for_planes, SMALL, side=128),
}


def opened(name):
    known = published(name)
    module = TOYS[name]()
    for parameter in module.parameters():  # transformers draws them so small that nothing would be seen of anything
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.1)
    side = {"mobile-sam": 256, "sam2.1-tiny": 128}.get(name, SIDE)
    frame = replace(known.frame or known.record.frame, side=side)
    return Opened(Path("none"), replace(known, frame=frame), known.card, module.eval().requires_grad_(False))


@pytest.fixture(params=list(TOYS))
def any_base(request):
    torch.manual_seed(0)
    return base(opened(request.param))


def step(module, groups, task, number=0):
    optimiser = torch.optim.SGD([p for group in groups for p in group.parameters], lr=0.01)
    terms = task.losses(module, task.batch(number))
    sum(terms.values()).backward()
    moved = [p for group in groups for p in group.parameters if p.grad is not None and p.grad.any()]
    optimiser.step()
    return {name: float(term.detach()) for name, term in terms.items()}, moved


def course(data, like):
    looks = Looks(like.card)
    return Course(data=data, census=census(data.root, data.cases, looks), looks=looks, steps=2, images=2)


def test_every_family_learns_by_prompts(any_base, data):
    module, groups = prepared(Prompted(), any_base, settings_of("lora", {}))
    task = Prompted().task(any_base, course(data, any_base))
    assert all(prompts.kinds <= any_base.card.prompts for prompts in task.batch(1).prompts)
    terms, moved = step(module, groups, task)
    assert terms.keys() == {"mask", "iou"}
    assert all(0 < value < 1e4 for value in terms.values())
    assert moved
    model = any_base.model(module.requires_grad_(False), any_base.card)
    assert model.card is any_base.card


@pytest.mark.parametrize("head", ["decoder", "cnn"])
def test_every_family_finds_classes(any_base, data, head):
    given = course(data, any_base)
    kind = Semantic.fitting(any_base, given.census, head=head)
    assert kind.side == any_base.sight.side
    module, groups = prepared(kind, any_base, settings_of("lora", {}))
    _, moved = step(module, groups, kind.task(any_base, given))
    assert {id(p) for p in module.head.parameters()} & {id(p) for p in moved}
    with torch.no_grad():
        logits = module.eval()(torch.rand(2, 3, kind.side, kind.side) * 255)
    assert logits.shape == (2, 3, kind.side // 4, kind.side // 4)


def test_prompt_encoders_learn_too(any_base, data):
    module, groups = prepared(Prompted(), any_base, settings_of("prompts-decoder", {}))
    assert any(name.startswith("prompt_encoder.") for name in learnt_names(module))
    assert not any("vision_encoder" in name or "image_encoder" in name for name in learnt_names(module))
    task = Prompted().task(any_base, course(data, any_base))
    names = {id(p): name for name, p in module.named_parameters()}
    moved = {names[id(p)] for number in range(3) for p in step(module, groups, task, number)[1]}
    assert any(name.startswith("prompt_encoder.") for name in moved)


def test_tasks_travel_without_the_network(data):
    like = base(opened("sam-vit-b"))
    task = Prompted().task(like, course(data, like))
    sent = pickle.dumps(task)
    assert len(sent) < 100_000
    again = pickle.loads(sent).batch(3)  # noqa: S301  # as worker processes do
    assert torch.equal(again.pictures, task.batch(3).pictures)


def test_models_of_volumes_are_refused():
    known = published("sam2.1-tiny-volume")
    module = sam2.build(SMALL, newer=True, side=1024)
    with pytest.raises(TrainingError, match=r"sam2\.1-tiny-volume, which sees volumes"):
        base(Opened(Path("none"), known, known.card, module))


@pytest.mark.parametrize("frame", [FrameSpec(SIDE), FrameSpec(SIDE, values="minmax"),
    FrameSpec(SIDE, values="signed", colours="bgr")], ids=lambda frame: frame.values)  # fmt: skip
def test_values_are_scaled_as_at_inference(frame):
    pixels = torch.randint(20, 240, (SIDE, SIDE // 2, 3), generator=torch.Generator().manual_seed(0)).numpy()
    array = pixels.transpose(2, 0, 1)[..., None].astype("float32")
    image = Image(array, Geometry.picture(SIDE, SIDE // 2), ("red", "green", "blue"))
    valid = torch.zeros(1, SIDE, SIDE)
    valid[:, : SIDE // 2] = 1
    picture = torch.zeros(1, 3, SIDE, SIDE)
    picture[0, :, : SIDE // 2] = torch.tensor(image.array[..., 0]).transpose(1, 2)
    found = scaled(picture, frame, valid=valid)
    torch.testing.assert_close(found, torch.from_numpy(frame.picture(image)), atol=1e-5, rtol=1e-5)


def test_the_batch_norms_of_what_learns_are_not_folded_away():
    module = MobileSam(256, 4).eval().requires_grad_(False)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in mobile_sam.network(module, "cpu").encoder.modules())
    module.image_encoder.requires_grad_(True)
    assert any(isinstance(m, nn.BatchNorm2d) for m in mobile_sam.network(module, "cpu").encoder.modules())


def test_pictures_are_encoded_once_where_the_encoder_stays_as_it_is(data, monkeypatch):
    like = base(opened("sam-vit-b"))
    lesson = Lesson(base=like, kind=Prompted(), method="decoder", settings={}, course=course(data, like))
    module, groups = lesson.prepared()
    task = lesson.task(module)
    seen = []
    forward = sam.SamEncoder.forward
    monkeypatch.setattr(sam.SamEncoder, "forward", lambda self, x: seen.append(len(x)) or forward(self, x))
    for number in range(8):
        step(module, groups, task, number)
    assert len(seen) <= len(data.cases)
    changed, _ = replace(lesson, base=base(opened("sam-vit-b")), method="lora").prepared()
    assert not torch.equal(lesson.task(changed).batch(0).pictures, task.batch(0).pictures)
