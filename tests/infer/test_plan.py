"""What is planned is what is then done: counted exactly, and foretold by a clock that only the model moves."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from samaritan.core.errors import GeometryMismatchError, OutOfMemoryBudgetError, PromptError
from samaritan.core.geometry import Geometry
from samaritan.core.model import PartStore, Prediction
from samaritan.core.prompts import Box, MaskPrompt, Point, Prompts
from samaritan.infer import plan as planning
from samaritan.infer import segment
from samaritan.infer.memory import DEFAULT_EMBEDDINGS, MIB, SLACK
from samaritan.infer.plan import plan
from samaritan.testing import FakeModel, fake_model
from samaritan.testing.phantoms import ct_volume, many_objects, picture

VOLUME = ct_volume((48, 40, 24))
VOXELS = 48 * 40 * 24
PEAK = 1000 * MIB


def asked(phantom, *items):
    return {"liver": Prompts(phantom.image.geometry, items)}


def counted(phantom, objects):
    """What is planned, and what segmenting then does: planes encoded and decoded."""
    planned = plan(FakeModel(), phantom.image, objects)
    model = FakeModel()
    segment(model, phantom.image, objects)
    return planned, (model.embeds, model.decodes)


def middle_of(phantom):
    i, j, k = np.argwhere(phantom.mask(1)).mean(axis=0)
    return Point((round(i), round(j), round(k)))


def test_a_box_over_slices_is_counted_exactly():
    planned, done = counted(VOLUME, asked(VOLUME, VOLUME.box(1)))
    assert (planned.planes, planned.decodes) == done
    assert not planned.at_most


def test_in_thick_slices_the_object_of_a_box_is_looked_for_before_it_is_followed():
    thick = ct_volume((48, 40, 24), affine=np.diag([1, 1, 12, 1]))
    planned, done = counted(thick, asked(thick, thick.box(1)))
    slices = thick.box(1).stop[2] - thick.box(1).start[2]
    assert (planned.planes, planned.decodes) == (slices, slices + 2)
    assert planned.planes >= done[0]
    assert planned.decodes >= done[1] - 1  # where it ends, a slice is tried twice


def test_a_picture_is_one_plane():
    flat = picture()
    planned, done = counted(flat, asked(flat, flat.box(1)))
    assert (planned.planes, planned.decodes) == done == (1, 1)
    assert not planned.at_most


def test_a_click_is_followed_nobody_knows_how_far():
    planned, done = counted(VOLUME, asked(VOLUME, middle_of(VOLUME)))
    assert planned.at_most
    assert plan(FakeModel(), VOLUME.image, asked(VOLUME, Box((5, 5, 4), (30, 30, 5)))).at_most
    assert planned.planes == 24 >= done[0]
    assert planned.decodes == 47 >= done[1]  # every slice that is followed may be tried twice


def test_a_mask_over_slices_is_refined_there_and_not_followed():
    mask = VOLUME.mask(1)
    planned, done = counted(VOLUME, asked(VOLUME, MaskPrompt(mask)))
    assert (planned.planes, planned.decodes) == done == (mask.any(axis=(0, 1)).sum(),) * 2
    assert not planned.at_most


def test_planes_that_two_objects_share_are_encoded_once():
    both = {"a": Prompts(VOLUME.image.geometry, (Box((5, 5, 4), (20, 20, 6)),)),
            "b": Prompts(VOLUME.image.geometry, (Box((20, 20, 5), (40, 38, 7)),))}  # fmt: skip
    planned, done = counted(VOLUME, both)
    assert (planned.planes, planned.decodes) == (3, 6)  # both slices of a box are looked at, and one is then followed
    assert planned.planes == done[0]


def test_what_cannot_be_segmented_cannot_be_planned():
    with pytest.raises(PromptError, match="only negative"):
        plan(FakeModel(), VOLUME.image, asked(VOLUME, Point((1, 1, 1), positive=False)))
    with pytest.raises(PromptError, match="no object"):
        plan(FakeModel(), VOLUME.image, {})
    with pytest.raises(GeometryMismatchError):
        plan(
            FakeModel(), VOLUME.image, {"it": Prompts(Geometry.from_spacing((4, 4, 4), (1, 1, 1)), (Point((1, 1, 1)),))}
        )


# -- time and memory --------------------------------------------------------------------------------------------------


class Clock:
    """Shows what models have made of it."""

    def __init__(self):
        self.now = 5.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The planner's clock, a peak of 1000 MiB, and trials that end as soon as they may."""
    made = Clock()
    monkeypatch.setattr(planning, "perf_counter", made)
    monkeypatch.setattr(planning, "peak_rss", lambda: PEAK)
    monkeypatch.setattr("samaritan.infer.memory.peak_rss", lambda: PEAK)
    monkeypatch.setattr(planning, "_TRIAL_S", 0.0)
    return made


class Slow(FakeModel):
    """Encodes in 10 s, 100 s more the first time; decodes in 1 s; its embeddings are of a MiB each as they are kept."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def embed(self, image):
        self.clock.now += 10 if self.embeds else 110
        return super().embed(image)

    def decode(self, embedding, prompts, previous=None):
        self.clock.now += 1
        return super().decode(embedding, prompts, previous)

    def pack(self, embedding):
        grey = super().pack(embedding)["grey"]
        return {"grey": grey, "rest": np.zeros(MIB - 2 * grey.size, np.uint8)}  # the image is kept in two bytes a pixel


def big():
    """A volume whose planes are large enough for two bytes a pixel, and all different: the cache knows equal ones."""
    return ct_volume((80, 80, 80), affine=np.eye(4), noise_hu=5)


def test_time_is_what_the_model_takes_and_getting_ready_counts_once(clock):
    phantom = big()
    slices = phantom.box(1).stop[2] - phantom.box(1).start[2]
    model = Slow(clock)
    planned = plan(model, phantom.image, asked(phantom, phantom.box(1)))
    assert (planned.planes, planned.decodes) == (slices + 2, slices + 2)
    assert planned.seconds == pytest.approx(100 + 11 * (slices + 2))
    assert (model.embeds, model.decodes) == (5, 10)  # two planes across, three slices; decoded a second time


def test_a_picture_takes_what_it_took(clock):
    flat = picture(80, 80)
    planned = plan(Slow(clock), flat.image, asked(flat, flat.box(1)))
    assert planned.seconds == pytest.approx(111)
    assert planned.disk == MIB


def test_another_object_takes_its_decoding_and_what_it_does_not_share(clock):
    phantom = big()
    one, all_ = Box((9, 9, 20), (50, 50, 40)), Box((9, 9, 30), (50, 50, 60))
    both = {name: Prompts(phantom.image.geometry, (box,)) for name, box in (("a", one), ("b", all_))}
    planned = plan(Slow(clock), phantom.image, both)
    assert (planned.planes, planned.decodes) == (44, 54)
    assert planned.seconds == pytest.approx(100 + 10 * 44 + 54)


class SlowTogether(Slow):
    """Decodes any number of objects at once in half a second."""

    def most_images(self):
        return 1

    def embed_batch(self, images):
        return [self.embed(image) for image in images]

    def decode_batch(self, embedding, prompts, previous=None):
        now = self.clock.now
        found = [self.decode(embedding, one) for one in prompts]
        self.clock.now = now + 0.5
        return found


def test_objects_of_a_plane_take_what_they_take_together_unless_memory_is_limited(clock):
    phantom = many_objects(3, 4, cell=20)
    asked = {str(n): Prompts(phantom.image.geometry, (phantom.box(n, margin=2),)) for n in range(1, 13)}
    planned = plan(SlowTogether(clock), phantom.image, asked)
    assert (planned.planes, planned.decodes) == (1, 12)
    assert planned.seconds == pytest.approx(110 + 12 * 0.5 / 8)
    clock.now = 5.0
    limited = plan(SlowTogether(clock), phantom.image, asked, max_memory=2 * PEAK)
    assert limited.seconds == pytest.approx(110 + 12)


class SlowBatches(SlowTogether):
    """Encodes eight at once, each in 2 s."""

    def most_images(self):
        return 8

    def embed_batch(self, images):
        now = self.clock.now
        found = super().embed_batch(images)
        self.clock.now = now + 2 * len(images)
        return found


@pytest.mark.parametrize("depth", [12, 30, 48, 80])
def test_slices_that_are_encoded_at_once_take_what_they_then_take(clock, depth):
    phantom = ct_volume((80, 80, depth), affine=np.eye(4), noise_hu=5)
    box = phantom.box(1)
    slices = box.stop[2] - box.start[2]
    planned = plan(SlowBatches(clock), phantom.image, asked(phantom, box))
    begun, model = clock.now, SlowBatches(clock)
    segment(model, phantom.image, asked(phantom, box))
    assert (planned.planes, planned.decodes) == (model.embeds, model.decodes) == (slices + 2, slices + 2)
    assert clock.now - begun == pytest.approx(100 + 3 * 10 + 2 * (slices - 1) + slices + 2)
    # It begins with a slice that it encodes alone; a trial begins with the planes across, and has that among the rest.
    assert planned.seconds == pytest.approx(clock.now - begun - 10 + 2)


def test_slices_are_planned_to_be_encoded_one_by_one_where_memory_is_limited(clock):
    phantom = big()
    planned = plan(SlowBatches(clock), phantom.image, asked(phantom, phantom.box(1)), max_memory=4 * PEAK)
    assert planned.seconds == pytest.approx(100 + 11 * planned.planes)


def test_memory_is_the_peak_so_far_and_what_is_still_to_be_held(clock):
    phantom = big()
    planned = plan(Slow(clock), phantom.image, asked(phantom, phantom.box(1)))
    arrays = 80**3 * (1 + 3)
    assert planned.disk == planned.planes * MIB
    assert planned.memory == PEAK + (planned.planes - 5) * MIB + arrays


def test_embeddings_are_planned_to_take_no_more_than_they_may(clock):
    phantom, limit = big(), PEAK + SLACK + 80**3 * 4 + 7 * MIB
    limited = plan(Slow(clock), phantom.image, asked(phantom, phantom.box(1)), max_memory=limit)
    assert limited.memory == limit - SLACK
    assert limited.disk > 7 * MIB
    with pytest.raises(OutOfMemoryBudgetError):
        plan(Slow(clock), phantom.image, asked(phantom, phantom.box(1)), max_memory=PEAK)


# -- models of volumes ------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Growing:
    """A volume's embedding that holds a number of MiB."""

    geometry: Geometry
    parts: int = 0
    max_bytes: int = DEFAULT_EMBEDDINGS
    store: PartStore | None = None

    @property
    def nbytes(self):
        return self.parts * MIB


class Stepwise(FakeModel):
    """Takes so many steps over an object, each of 2 s and 5 MiB; of these it foretells ``told``."""

    def __init__(self, clock, steps, *, told=None):
        super().__init__(replace(fake_model.CARD, dims=3, native_shape=(8, 8, 8), prompts=frozenset({"box", "point"})))
        self.clock, self.steps, self.told = clock, steps, told or steps
        self.bounds = set()

    def embed(self, image):
        self.clock.now += 3
        return Growing(image.geometry)

    def decode(self, embedding, prompts, previous=None):
        raise AssertionError

    def decode_stepwise(self, embedding, prompts, previous=None, *, step):
        self.bounds.add(embedding.max_bytes)
        for done in range(1, self.steps + 1):
            self.clock.now += 2
            embedding.parts = min(embedding.parts + 5, embedding.max_bytes // MIB)
            step(done, self.told)
        return Prediction(np.ones((1, *embedding.geometry.shape), np.float32), np.ones(1), embedding.geometry)

    def pack(self, embedding):
        return {"voxels": np.zeros(7, np.uint8)}

    def unpack(self, arrays, geometry):
        return Growing(geometry)


def test_a_model_of_volumes_is_asked_to_begin(clock):
    planned = plan(Stepwise(clock, 50), VOLUME.image, asked(VOLUME, VOLUME.box(1)))
    assert (planned.planes, planned.decodes) == (50, 50)
    assert planned.seconds == pytest.approx(3 + 2 * 50)
    assert planned.at_most
    assert planned.disk == 7 + 5 * 50 * MIB
    assert clock.now == 5 + 3 + 2 * 12
    arrays = VOXELS * (1 + 3 + 6)
    assert planned.memory == PEAK + 5 * (50 - 12) * MIB + arrays


def test_what_its_embedding_may_hold_bounds_its_growth(clock):
    planned = plan(Stepwise(clock, 500), VOLUME.image, asked(VOLUME, VOLUME.box(1)))
    assert planned.memory == PEAK + DEFAULT_EMBEDDINGS - 12 * 5 * MIB + VOXELS * 10
    assert planned.disk == 7 + 5 * 500 * MIB  # what is let go was kept there


def test_an_object_that_a_trial_finishes_takes_what_it_took(clock):
    model = Stepwise(clock, 4, told=27)
    planned = plan(model, VOLUME.image, {**asked(VOLUME, VOLUME.box(1)), "b": asked(VOLUME, VOLUME.box(2))["liver"]})
    assert (planned.planes, planned.decodes, planned.at_most) == (8, 8, False)
    assert planned.seconds == pytest.approx(3 + 2 * 8)


def test_a_model_of_volumes_that_tells_of_no_steps_takes_one(clock):
    class Whole(Stepwise):
        decode_stepwise = None

        def decode(self, embedding, prompts, previous=None):
            self.clock.now += 30
            return Prediction(np.ones((1, *embedding.geometry.shape), np.float32), np.ones(1), embedding.geometry)

    planned = plan(Whole(clock, 1), VOLUME.image, asked(VOLUME, VOLUME.box(1)))
    assert (planned.planes, planned.decodes, planned.at_most) == (1, 1, False)
    assert planned.seconds == pytest.approx(33)


def test_a_limit_bounds_what_a_volumes_embedding_holds(clock):
    model, objects = Stepwise(clock, 50), asked(VOLUME, VOLUME.box(1))
    segment(model, VOLUME.image, objects)
    assert model.bounds == {DEFAULT_EMBEDDINGS}
    limit = PEAK + SLACK + VOXELS * 10 + 20 * MIB
    model.bounds.clear()
    segment(model, VOLUME.image, objects, max_memory=limit)
    assert model.bounds == {20 * MIB}
    with pytest.raises(OutOfMemoryBudgetError):
        segment(model, VOLUME.image, objects, max_memory=limit - 21 * MIB)


def test_the_steps_of_a_model_of_volumes_are_told(clock):
    told = []
    segment(Stepwise(clock, 4, told=27), VOLUME.image, asked(VOLUME, VOLUME.box(1)), progress=lambda *a: told.append(a))
    assert told == [("liver", 1, 27), ("liver", 2, 27), ("liver", 3, 27), ("liver", 4, 27), ("liver", 27, 27)]


def test_a_model_that_follows_slices_is_tried_along_the_axis(clock):
    class Turned(Stepwise):
        shapes = ()

        def decode_stepwise(self, embedding, prompts, previous=None, *, step):
            assert prompts.geometry.matches(embedding.geometry)
            self.shapes = (*self.shapes, embedding.geometry.shape)
            return super().decode_stepwise(embedding, prompts, previous, step=step)

    model = Turned(clock, 4)
    model._card = replace(model.card, native_shape=(8, 8, 1))
    i, j, k = VOLUME.image.shape
    planned = plan(model, VOLUME.image, asked(VOLUME, VOLUME.box(1)), axis="i")
    assert model.shapes == ((j, k, i),)
    assert planned.seconds == pytest.approx(3 + 2 * 4)
