"""Methods that learnt nothing: what a prompt alone gives, and the bars that a model has to clear."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from samaritan.core.model import Model, ModelCard
from samaritan.models.registry import ModelEntry

if TYPE_CHECKING:
    from samaritan.models.classical.adapter import Method

_VERSION = 1  # raise it when a mask changes: caches and reports tell results apart by it
_BOX = ("box",)
_MARKS = ("box", "point", "scribble")


def _entry(name: str, title: str, prompts: tuple[str, ...], source: str) -> ModelEntry:
    def card() -> ModelCard:
        return ModelCard(
            name=name,
            family="classical",
            title=title,
            licence="Apache-2.0",
            commercial_use=True,
            native_shape=(512, 512),  # the most that slow ones work at
            dims=2,
            prompts=frozenset(prompts),
            sha256=hashlib.sha256(f"{name} {_VERSION}".encode()).hexdigest(),
            training_data=("none: it does not learn",),
            source=source,
        )

    def load(device: str) -> Model:  # noqa: ARG001 - it runs where numpy does
        from samaritan.models.classical.adapter import ClassicalModel  # noqa: PLC0415 - a card needs none of it

        module = import_module(f"samaritan.models.classical.{name.replace('-', '_')}")
        method: Callable[[], Method] = module.method
        return ClassicalModel(card(), method())

    return ModelEntry(card, load)


ELLIPSE = _entry("ellipse", "The ellipse inscribed in the box: sees nothing", _BOX, "Samaritan")
OTSU = _entry("otsu", "Otsu's threshold within the box", _BOX, "Otsu 1979, doi:10.1109/TSMC.1979.4310076")
GRABCUT = _entry(
    "grabcut", "GrabCut: graph cuts and colour mixtures", _MARKS, "Rother et al. 2004, doi:10.1145/1015706.1015720"
)
RANDOM_WALKER = _entry(
    "random-walker", "Random walker from marks or a box", _MARKS, "Grady 2006, doi:10.1109/TPAMI.2006.233"
)
GEODESIC = _entry(
    "geodesic",
    "Nearest mark along the image's paths",
    _MARKS,
    "Criminisi et al. 2008 (GeoS), doi:10.1007/978-3-540-88682-2_9",
)
