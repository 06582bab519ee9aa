import functools
from dataclasses import replace

import pytest
from tests.models.sam3.reference import DETECTOR, SIDE, TRACKER, write
from transformers import Sam3Config, Sam3TrackerConfig

from samaritan.models import family, sam3
from samaritan.models.family import FAMILIES
from samaritan.models.planar import FrameSpec


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder as the official one, with narrow networks."""
    place = tmp_path_factory.mktemp("models") / "sam3"
    place.mkdir()
    write(place)
    return place


@pytest.fixture
def narrow(folder, monkeypatch):
    """Both families with the narrow networks in place of the published ones, and no others; their file is here."""
    monkeypatch.setenv("SAMARITAN_MODELS", str(folder.parent))
    frame = FrameSpec(SIDE, fit="stretch", values="signed")
    families = {
        "sam3": replace(
            sam3.TRACKER, frame=frame, variants={"sam3": lambda: sam3.build_tracker(Sam3TrackerConfig(**TRACKER))}
        ),
        "sam3-concept": replace(
            sam3.CONCEPT, frame=frame, variants={"sam3-concept": lambda: sam3.build_detector(Sam3Config(**DETECTOR))}
        ),
    }
    monkeypatch.setattr(FAMILIES, "_targets", dict.fromkeys(families, "nowhere:needed"))
    monkeypatch.setattr(FAMILIES, "_loaded", families)
    monkeypatch.setattr(family, "_state_of", functools.cache(family._state_of.__wrapped__))
