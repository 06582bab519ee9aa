"""How published models have their pictures prepared."""

from samaritan.models.family import FAMILIES, family_of
from samaritan.models.planar import FrameSpec
from samaritan.models.published import published, published_names


def frame_of(name: str) -> FrameSpec | None:
    """Return what the card of a published model says, or else its family."""
    known = published(name)
    return known.frame or FAMILIES.get(family_of(known.variant)).frame


def framed_names() -> list[str]:
    """Return the names of the published models that have one."""
    return [name for name in published_names() if frame_of(name) is not None]
