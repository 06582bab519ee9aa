"""The unit of a run: one model and one case, with all protocols that are wanted of it."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import MissingExtraError, SamaritanError, WeightsError, WriteError
from samaritan.core.image import Image, take_plane
from samaritan.core.model import Model, ModelCard
from samaritan.data import Case, DataSet, Labelled, Reference, read_image, read_objects
from samaritan.evaluate.asking import Interviews, Looks
from samaritan.evaluate.factors import factors_of
from samaritan.evaluate.given import instances_in, masks_by_others
from samaritan.evaluate.instances import given_rows, instance_rows
from samaritan.evaluate.interview import Outcome, carry_out
from samaritan.evaluate.predictions import GIVEN, read_predicted
from samaritan.evaluate.protocols import PROTOCOLS, Answer, Protocol
from samaritan.evaluate.replay import Journal
from samaritan.evaluate.scoring import PREDICTED, Scorer
from samaritan.evaluate.sources import MadeOf, Sources
from samaritan.evaluate.store import OBJECTS, Store
from samaritan.evaluate.subjects import Choice, Subject, Wanted, seeded, subjects_of

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides every row of a run: objects, metrics, how images are shown to models, and the seed."""

    choice: Choice = field(default_factory=Choice)
    scorer: Scorer = field(default_factory=Scorer)
    looks: Looks = field(default_factory=Looks)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """A run: what is asked, of whom, about what, and where it is kept. It goes to other processes, with the loaders.

    ``folders`` hold masks that others have made: they count as models that are asked nothing. The questions of a
    ``journal`` are asked of all models, besides the protocols. ``weights`` tell those of each loader's model from
    others of its name: what is kept of other ones is done anew.
    """

    data: DataSet
    loaders: Mapping[str, Callable[[], Model]]
    protocols: tuple[str, ...]
    settings: Settings
    store: Store
    folders: Mapping[str, Path] = field(default_factory=dict)
    journal: Journal | None = None
    weights: Mapping[str, str] = field(default_factory=dict)

    @property
    def sources(self) -> Sources:
        """What its units are made of, as the files are now."""
        return Sources(self.data.root, self.weights, self.folders)

    @property
    def asked(self) -> dict[str, tuple[str, ...]]:
        """The protocols of each model."""
        names = (*self.protocols, *(self.journal.protocols if self.journal else ()))
        return {**dict.fromkeys(self.loaders, names), **dict.fromkeys(self.folders, (GIVEN,))}


Unit = tuple[str, Case]


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a unit: the protocols that were ``asked`` now, those that were ``skipped``, and an ``error``."""

    model: str
    case: str
    asked: tuple[str, ...] = ()
    error: str = ""


def left(plan: Plan, unit: Unit, sources: Sources | None = None) -> tuple[str, ...]:
    """Return the protocols that are still to be asked.

    One that ended in an error is asked again, and so is one whose answers are to other images, references, predictions
    or models than there are now. ``sources`` are those of the plan, if whoever asks has them.
    """
    model, case = unit
    made_of = (sources or plan.sources).of(model, case)
    found = {name: plan.store.get(case.id, model, name) for name in plan.asked[model]}
    return tuple(name for name, kept in found.items() if not _stands(kept, made_of) or (kept and kept.get("error")))


def forget(plan: Plan, unit: Unit, sources: Sources) -> None:
    """Drop what is kept of a unit, but was made of other things than there are now: no table shall have it."""
    model, case = unit
    places: list[tuple[tuple[str, ...], MadeOf]] = [((OBJECTS,), sources.of_case(case))]
    places += [((model, name), sources.of(model, case)) for name in plan.asked[model]]
    for parts, made_of in places:
        kept = plan.store.get(case.id, *parts)
        if kept is not None and not _stands(kept, made_of):
            plan.store.drop(case.id, *parts)


def _stands(kept: Mapping[str, Any] | None, made_of: MadeOf) -> bool:
    """Whether something is kept, and was made of what there is now."""
    return kept is not None and kept.get("made_of") == made_of


def prepare(plan: Plan, model: str) -> None:
    """Load a model of a plan in this process, if it is to be loaded and is not."""
    if model in plan.loaders:
        _model(plan.loaders[model])


def work(plan: Plan, unit: Unit) -> Done:
    """Carry out what is left of a unit, and keep it; an error of the case is kept, one of the model is raised."""
    name, case = unit
    sources = plan.sources
    made_of = sources.of(name, case)  # before it is read: what changes meanwhile is done anew the next time
    wanted = left(plan, unit, sources)
    if not wanted:
        return Done(name, case.id)
    model = _model(plan.loaders[name]) if name in plan.loaders else None  # where it fails, no case is to blame
    try:
        image = read_image(plan.data.root, case)
        rng = seeded(plan.settings.seed, "objects", case.id)
        labels: dict[str, str] = {}
        drawn = _noted(read_objects(plan.data.root, case, image.geometry), labels)
        subjects = subjects_of(image.geometry, drawn, plan.settings.choice, rng)
        if not _stands(plan.store.get(case.id, OBJECTS), sources.of_case(case)):
            described = _described(case, image, subjects) | {"labels": labels, "made_of": sources.of_case(case)}
            plan.store.put(described, case.id, OBJECTS)
        if model is None:
            path = sources.predicted(name, case.id)
            predicted = read_predicted(path, plan.folders[name], case.id, image.geometry)
            plan.store.put(_given(plan, case, predicted, subjects) | {"made_of": made_of}, case.id, name, GIVEN)
            return Done(name, case.id, wanted)
        interviews = Interviews(model, image, looks=plan.settings.looks, words=(plan.settings.seed, case.id))
        for protocol in wanted:
            found = _asked(plan, case, model.card, protocol, subjects, interviews)
            plan.store.put(found | {"made_of": made_of}, case.id, name, protocol)
    except (WeightsError, MissingExtraError, WriteError):
        raise  # no fault of the case: it would be the same for all
    except SamaritanError as error:
        for protocol in left(plan, unit, sources):
            plan.store.put({"case": case.id, "error": str(error), "made_of": made_of}, case.id, name, protocol)
        return Done(name, case.id, wanted, str(error))
    return Done(name, case.id, wanted)


def _noted(objects: Iterable[Labelled], labels: dict[str, str]) -> Iterator[Labelled]:
    """Yield objects, and enter the name of each label by its value."""
    for item in objects:
        labels.setdefault(str(item.value), item.name)
        yield item


def _described(case: Case, image: Image, subjects: list[Subject]) -> dict[str, Any]:
    """Return what the objects of a case are like."""
    found = []
    for subject in subjects:
        shown = image if subject.index is None else image.plane(subject.axis, subject.index)
        for wanted in subject.wanted:
            about = {"value": wanted.value, "instance": wanted.instance, "volume": not image.is_2d}
            found.append(about | factors_of(wanted.target, shown.array))
    return {"case": case.id, "objects": found}


def _given(plan: Plan, case: Case, predicted: NDArray[Any], subjects: list[Subject]) -> dict[str, Any]:
    """Return the unit of a case whose masks (i, j, k) somebody else has made."""
    unit: dict[str, Any] = {"case": case.id, "objects": [], "instances": []}
    for subject in subjects:
        reference = case.reference or Reference("labels", ())
        plane = predicted if subject.index is None else take_plane(predicted, subject.axis, subject.index)
        values = list(dict.fromkeys(wanted.value for wanted in subject.wanted if wanted.instance))
        found = instances_in(plane, reference, values) if values else None
        row: dict[str, Any] = {"step": GIVEN, "effort": 0.0, "choice": PREDICTED, "predicted_iou": None}
        masks = masks_by_others(plane, found, reference, subject)
        for wanted, mask in zip(subject.wanted, masks, strict=True):
            scores = plan.settings.scorer.scores(wanted.target.mask, mask, subject.geometry)
            answer = Answer(mask[None], np.full(1, np.nan, np.float32))
            unit["objects"].append(_object(subject, wanted, Outcome(rows=[row | scores], answer=answer)))
        unit["instances"] += [] if found is None else given_rows(subject, found, row)
    return unit


def _asked(
    plan: Plan, case: Case, card: ModelCard, name: str, subjects: list[Subject], interviews: Interviews
) -> dict[str, Any]:
    replayed = None if name in plan.protocols else plan.journal
    protocol = replayed.protocol(name, case.id, subjects) if replayed else PROTOCOLS.get(name)
    reason = unsuited(protocol, card, plan.settings.choice) if protocol else "the journal asks nothing about it"
    if protocol is None or reason:
        return {"case": case.id, "skipped": reason}
    unit: dict[str, Any] = {"case": case.id, "objects": [], "instances": []}
    for subject in subjects:
        asked = interviews.about(subject)
        if replayed:
            askings = replayed.askings(name, case.id, subject)
        else:
            words = (plan.settings.seed, case.id, name)
            askings = [protocol.run(it.target, seeded(*words, it.value, it.instance)) for it in subject.wanted]
        outcomes = carry_out(protocol, subject, asked, plan.settings.scorer, askings)
        pairs = zip(subject.wanted, outcomes, strict=True)
        unit["objects"] += [_object(subject, wanted, outcome) for wanted, outcome in pairs]
        unit["instances"] += instance_rows(subject, outcomes)
    return unit


def unsuited(protocol: Protocol, card: ModelCard, choice: Choice) -> str:
    """Return why a model cannot be asked by a protocol; empty if it can."""
    missing = sorted(protocol.kinds - card.prompts)
    if missing:
        return f"{card.name} takes no {' and no '.join(missing)}"
    if protocol.dims is not None and protocol.dims != choice.dims:
        about = {2: "planes", 3: "volumes"}
        return f"it is about {about[protocol.dims]}, and {about[choice.dims]} are asked about"
    if card.dims == 3 and choice.dims == 2:
        return f"{card.name} takes volumes, and planes are asked about"
    return ""


def _object(subject: Subject, wanted: Wanted, outcome: Outcome) -> dict[str, Any]:
    return {
        "value": wanted.value,
        "name": wanted.name,
        "instance": wanted.instance,
        "axis": subject.axis,
        "index": subject.index,
        "rows": outcome.rows,
        "seconds": outcome.seconds,
        "journal": outcome.journal,
        "mask": None if outcome.mask is None else pack(_shown(outcome.mask, wanted)),
    }


def _shown(mask: Bools, wanted: Wanted) -> Bools:
    """Return the plane (i, j) of a mask that a report shows: where there is most of the object."""
    return mask[..., int(np.count_nonzero(wanted.target.mask, axis=(0, 1)).argmax())]


def pack(mask: Bools) -> dict[str, Any]:
    """Return a plane mask (i, j) as JSON holds it: the block that is set, in bits, compressed."""
    filled = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    if not filled[0].size:
        return {"shape": list(mask.shape), "start": [0, 0], "block": [0, 0], "bits": ""}
    start = [int(found[0]) for found in filled]
    block = mask[tuple(slice(found[0], found[-1] + 1) for found in filled)]
    bits = base64.b64encode(zlib.compress(np.packbits(block).tobytes())).decode("ascii")
    return {"shape": list(mask.shape), "start": start, "block": list(block.shape), "bits": bits}


def unpack(packed: Mapping[str, Any]) -> Bools:
    """Return the mask that ``pack`` made small."""
    mask = np.zeros(packed["shape"], np.bool_)
    if packed["bits"]:
        rows, columns = packed["block"]
        raw = np.frombuffer(zlib.decompress(base64.b64decode(packed["bits"])), np.uint8)
        i, j = packed["start"]
        mask[i : i + rows, j : j + columns] = np.unpackbits(raw, count=rows * columns).reshape(rows, columns)
    return mask


@lru_cache(maxsize=1)  # a process goes through the cases of one model, then of the next
def _model(loader: Callable[[], Model]) -> Model:
    return loader()
