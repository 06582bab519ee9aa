"""Which channels of an image a model sees, and how: the sequences of an MR, CT beside PET, stains, colours.

A model takes one picture, in grey or in colour. An image of other channels becomes that by a rule:

- ``first``: one channel, the first that is there. It is the default.
- ``average``: the mean of the channels, each scaled to the model's range on its own.
- ``each``: every channel is embedded on its own, and what the model answers for each is pooled: see
  ``infer.per_channel``.

A rule may name its channels, for ``first`` in order of preference: ``average:t1,flair``. A name without a rule chooses
that channel. Channels are named as in the image, whatever the capitals, or counted from 0. Red, green and blue count as
one channel, in colour, unless they are named.

A channel is missing that is named but not in the image, or that has the same value everywhere: so data sets write a
sequence that was not acquired. It is left out; where none is left, that is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import ImageError, SamaritanError, UnknownNameError
from samaritan.core.image import RGB, Image
from samaritan.core.model import ModelCard

FIRST, AVERAGE, EACH = RULES = ("first", "average", "each")

# Positions of the channels that are scaled together: one, or three of a colour.
Layer = range
Wanted = tuple[str, Layer | None]  # None: not in the image

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class MissingChannelWarning(UserWarning):
    """A channel was left out because it is not there, or holds nothing."""


@dataclass(frozen=True, slots=True)
class Picked:
    """What a rule comes to on one image.

    Parameters
    ----------
    layers
        What is seen, in the image's order; for ``first`` one.
    apart
        Whether they are embedded one by one; else they are averaged.
    used, missing
        Names of the channels seen, and of those left out.
    """

    layers: tuple[Layer, ...]
    apart: bool
    used: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Channels:
    """A rule for the channels of any image; see the module.

    Parameters
    ----------
    rule
        One of ``RULES``.
    names
        Of the channels that it is about, or their numbers from 0; none for all.

    Raises
    ------
    UnknownNameError
        If there is no such rule, or a name is empty.
    """

    rule: str = FIRST
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise UnknownNameError.of(self.rule, kind="rule for channels", known=RULES)
        if not all(name.strip() for name in self.names):
            raise UnknownNameError(
                got="a channel without a name",
                wanted=f"{', '.join(RULES)}, a channel, or a rule with channels",
                fix=f"Write {AVERAGE}, or {AVERAGE}:t1,flair",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the rule that is written ``"average"``, ``"average:t1,flair"`` or, for one channel, ``"flair"``.

        Raises
        ------
        UnknownNameError
            If a name is empty.
        """
        word, colon, rest = text.strip().partition(":")
        if word.lower() not in RULES:
            return cls(FIRST, (text.strip(),))
        return cls(word.lower(), tuple(name.strip() for name in rest.split(",")) if colon else ())

    def __str__(self) -> str:
        return f"{self.rule}:{','.join(self.names)}" if self.names else self.rule

    def pick(self, image: Image) -> Picked:
        """Return what the rule comes to on ``image``.

        Raises
        ------
        UnknownNameError
            If the image has no channel of the names.
        ImageError
            If those that it has are the same value everywhere.
        """
        wanted: list[Wanted] = [(name, _find(name, image)) for name in self.names] or _all(image)
        there: list[Layer] = []
        missing: list[str] = []
        for name, layer in wanted:
            if layer is None or not _has_contrast(image, layer):
                missing.append(name)
            elif layer not in there:
                there.append(layer)
            if there and self.rule == FIRST:
                break
        if not there:
            raise _nothing_of(wanted, image)
        layers = tuple(sorted(there, key=lambda layer: layer.start))
        used = tuple(image.channels[n] for layer in layers for n in layer)
        return Picked(layers, self.rule == EACH and len(layers) > 1, used, tuple(missing))


DEFAULT_CHANNELS = Channels()


def rule_of(channels: Channels | str | None) -> Channels:
    """Return the rule that is meant: a text is parsed, None is the default.

    Raises
    ------
    UnknownNameError
        As ``Channels.parse``.
    """
    if channels is None:
        return DEFAULT_CHANNELS
    return Channels.parse(channels) if isinstance(channels, str) else channels


def _all(image: Image) -> list[Wanted]:
    if image.is_colour:
        return [(", ".join(image.channels), range(3))]
    return [(name, range(n, n + 1)) for n, name in enumerate(image.channels)]


def _find(name: str, image: Image) -> Layer | None:
    """Return the channel of that name, else the one spelt alike but for capitals, else the one of that number."""
    lowered = [known.casefold() for known in image.channels]
    at = -1
    if name in image.channels:
        at = image.channels.index(name)
    elif name.casefold() in lowered:
        at = lowered.index(name.casefold())
    elif name.isdecimal() and int(name) < len(lowered):
        at = int(name)
    return None if at < 0 else range(at, at + 1)


def values_of(image: Image, layer: Layer) -> NDArray[Any]:
    """Return the values (c, i, j, k) of some channels of ``image``; a view."""
    return image.array[layer.start : layer.stop]


def as_model_sees(scaled: NDArray[np.float32], card: ModelCard) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return (c, i, j, k) with the channels that the model of ``card`` wants, and their names.

    ``scaled`` is grey, which is repeated for a model of three channels (a view with stride 0 along them), or red, green
    and blue, of which a model of one channel gets the luma.
    """
    if len(scaled) > card.channels:
        scaled = np.tensordot(_LUMA, scaled, axes=1)[None]
    names = RGB if card.channels == len(RGB) else ("intensity",)
    return np.broadcast_to(scaled, (len(names), *scaled.shape[1:])), names


def _has_contrast(image: Image, layer: Layer) -> bool:
    values = values_of(image, layer)
    first = values[0, 0, 0, 0]
    # One slab at a time: mostly the first one shows it.
    return any(bool((slab != first).any()) for slab in np.moveaxis(values, -1, 0))


def _nothing_of(wanted: Sequence[Wanted], image: Image) -> SamaritanError:
    """Return the error that says why none of the ``wanted`` channels can be used."""
    empty = [f"all {float(values_of(image, layer).flat[0]):g} in '{name}'" for name, layer in wanted if layer]
    if not empty:
        return UnknownNameError.of(wanted[0][0], kind="channel", known=(*image.channels, *RULES))
    others = [name for name, layer in _all(image) if layer and _has_contrast(image, layer)]
    return ImageError(
        got=f"an image whose voxels are {', '.join(empty)}",
        wanted=f"some contrast, as in {', '.join(others)}" if others else "some contrast",
        fix="Choose another channel" if others else "Check the file: there is nothing to segment",
    )
