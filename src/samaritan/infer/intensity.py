"""From a scanner's numbers to what a model was trained on: windows and percentiles.

Which range of values is kept of a channel (red, green and blue: of the three), the first that applies:

1. the window that the caller names or gives in numbers (``"file"``: the one that the image carries); beside channels in
   Hounsfield units it is not for the others;
2. CT: the window that the model was trained on, if its card names one; else soft tissue. So too a channel of unknown
   modality whose values are signed and reach -500: only Hounsfield units do that, and NIfTI files do not say their
   modality;
3. 8-bit values: all of 0 to 255, as they are;
4. anything else (MR, PET, 16-bit pictures): percentiles 0.5 to 99.5 of the voxels above the background, the way that
   MedSAM prepares MR (Ma et al. 2024, doi:10.1038/s41467-024-44824-z). The background is the lowest value.

A model that standardises values itself (``ModelCard.standardises``) gets them as they are, but for scale and offset: in
place of percentiles all values; and Hounsfield units, whatever the window, on the scale of the card's, which they are
then clipped to.

Which channels there are, and how they come together: ``infer.channels``.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import ImageError, UnknownNameError
from samaritan.core.image import Image, Window
from samaritan.core.model import ModelCard
from samaritan.infer.channels import DEFAULT_CHANNELS, Channels, Layer, Picked, as_model_sees, values_of

Floats = NDArray[np.float32]

# Centre and width in HU, as radiology teaches and viewers preset them (radiopaedia.org/articles/windowing-ct).
WINDOWS: Mapping[str, Window] = MappingProxyType(
    {
        "soft-tissue": (40.0, 400.0),
        "abdomen": (40.0, 400.0),
        "liver": (30.0, 150.0),
        "mediastinum": (50.0, 350.0),
        "lung": (-600.0, 1500.0),
        "bone": (400.0, 1800.0),
        "brain": (40.0, 80.0),
        "stroke": (40.0, 40.0),
        "subdural": (75.0, 215.0),
        "temporal-bone": (600.0, 2800.0),
        "spine": (50.0, 250.0),
        "angiography": (300.0, 600.0),
    }
)
DEFAULT_CT_WINDOW = "soft-tissue"
FROM_FILE = "file"

_HU_BELOW = -500.0
_PERCENTILES = (0.5, 99.5)
_SAMPLES = 1_000_000


def parse_window(text: str) -> Window:
    """Return centre and width of a named window, or of two numbers written ``"C,W"``.

    Raises
    ------
    UnknownNameError
        If it is neither.
    ImageError
        If the numbers are not finite or the width is not positive.
    """
    name = text.strip().lower().replace("_", "-").replace(" ", "-")
    if name in WINDOWS:
        return WINDOWS[name]
    try:
        centre, width = (float(part) for part in text.split(","))
    except ValueError:
        known = (*WINDOWS, FROM_FILE, "C,W in numbers")
        raise UnknownNameError.of(text, kind="window", known=known) from None
    return _checked((centre, width))


def _checked(window: Window) -> Window:
    centre, width = window
    if not np.isfinite([centre, width]).all() or width <= 0:
        raise ImageError(
            got=f"window of centre {centre:g} and width {width:g}",
            wanted="finite numbers, the width above 0",
            fix="Write centre,width, such as 40,400",
        )
    return (float(centre), float(width))


@dataclass(frozen=True, slots=True)
class Scale:
    """What is done to the values of some channels of every plane of one image, so that all planes are alike.

    Parameters
    ----------
    layer
        The channels.
    low, high
        What lies beyond these values is clipped.
    hounsfield
        Whether they are Hounsfield units.
    target
        What ``low`` and ``high`` become, within the model's range.
    """

    layer: Layer
    low: float
    high: float
    hounsfield: bool
    target: tuple[float, float]

    def __call__(self, image: Image) -> Floats:
        """Return the channels (c, i, j, k) of the image or plane, in the range ``target``."""
        values = values_of(image, self.layer)
        # In the input's precision first: a float32 cannot hold the difference of two large 32-bit integers. But a
        # float16 cannot hold the limits.
        precise = values.astype(np.float32) if values.dtype == np.float16 else values
        clipped = np.clip(precise, self.low, self.high)
        unit = ((clipped - self.low) / (self.high - self.low)).astype(np.float32)
        np.clip(unit, 0.0, 1.0, out=unit)  # rounding may have gone beyond by a hair
        bottom, top = self.target
        return np.asarray(unit * np.float32(top - bottom) + np.float32(bottom))


@dataclass(frozen=True, slots=True)
class IntensityMap:
    """From every plane of one image to what one model sees; made once.

    Parameters
    ----------
    picked
        The channels that are seen, and whether apart.
    scales
        Of each layer of them.
    card
        Of the model.
    modality
        The image's; "CT" where it is unknown and all values are recognised as Hounsfield units.
    """

    picked: Picked
    scales: tuple[Scale, ...]
    card: ModelCard
    modality: str

    @classmethod
    def of(
        cls,
        image: Image,
        card: ModelCard,
        *,
        window: Window | str | None = None,
        channels: Channels = DEFAULT_CHANNELS,
    ) -> IntensityMap:
        """Return the map that brings ``image`` to what the model of ``card`` wants; see the module for the rules.

        Raises
        ------
        ImageError
            If no channel has any contrast, or the window leaves nothing to see.
        UnknownNameError
            If there is no window or channel of that name.
        """
        picked = channels.pick(image)
        hounsfield = [_is_hounsfield(image, layer) for layer in picked.layers]
        scales = tuple(
            _scale(image, layer, window if known or not any(hounsfield) else None, card, hounsfield=known)
            for layer, known in zip(picked.layers, hounsfield, strict=True)
        )
        return cls(picked, scales, card, image.modality or ("CT" if all(hounsfield) else ""))

    def __call__(self, image: Image) -> Image:
        """Return the image or plane, float32 in the model's range, with the channels that the model wants.

        Channels that are embedded apart stay what they are, (c, i, j, k) with their names; see ``infer.per_channel``.
        """
        seen = (scale(image) for scale in self.scales)
        if self.picked.apart:
            array, names = np.concatenate(list(seen)), self.picked.used
        else:
            # One by one: of a volume, not all channels need fit in memory.
            mean = reduce(operator.iadd, seen)
            mean /= len(self.scales)
            array, names = as_model_sees(mean, self.card)
        return replace(image, array=array, channels=names, modality=self.modality, window=None)


def _is_hounsfield(image: Image, layer: Layer) -> bool:
    return image.modality == "CT" or (not image.modality and float(values_of(image, layer).min()) <= _HU_BELOW)


def _scale(image: Image, layer: Layer, window: Window | str | None, card: ModelCard, *, hounsfield: bool) -> Scale:
    values = values_of(image, layer)
    lowest, highest = float(values.min()), float(values.max())
    trained = _ends(card.ct_window or WINDOWS[DEFAULT_CT_WINDOW])
    chosen = _window(image, window)
    if chosen is None and not hounsfield:
        low, high = _value_range(values, lowest, highest, whole=card.standardises)
        return Scale(layer, low, high, hounsfield, card.intensity_range)
    low, high = trained if chosen is None else _ends(chosen)
    keeps_scale = hounsfield and card.standardises
    seen = (max(low, trained[0]), min(high, trained[1])) if keeps_scale else (low, high)
    if highest <= seen[0] or lowest >= seen[1] or seen[0] >= seen[1]:
        raise ImageError(
            got=f"a window from {low:g} to {high:g} on values from {lowest:g} to {highest:g}: nothing to see",
            wanted="a window that overlaps the values",
            fix="Give another window: a name, or centre,width",
        )
    target = np.interp(seen, trained, card.intensity_range) if keeps_scale else card.intensity_range
    return Scale(layer, *seen, hounsfield, (float(target[0]), float(target[1])))


def _ends(window: Window) -> tuple[float, float]:
    """Return lowest and highest value of a window."""
    centre, width = window
    return centre - width / 2, centre + width / 2


def _window(image: Image, window: Window | str | None) -> Window | None:
    """Return centre and width that the caller chose; None if nothing was chosen."""
    if window is None:
        return None
    if window == FROM_FILE:
        if image.window is None:
            raise ImageError(
                got="window 'file' for an image that carries none",
                wanted="a DICOM file with window centre and width",
                fix="Name a window, or give centre,width",
            )
        return _checked(image.window)
    return parse_window(window) if isinstance(window, str) else _checked(window)


def _value_range(values: NDArray[Any], lowest: float, highest: float, *, whole: bool) -> tuple[float, float]:
    """Return what to keep of ``values`` (c, i, j, k) from ``lowest`` to ``highest``, where no window says it."""
    if values.dtype == np.uint8:
        return 0.0, 255.0
    if whole:
        return lowest, highest
    sample = _sample(values)
    low, high = np.percentile(sample[sample > lowest], _PERCENTILES) if (sample > lowest).any() else (lowest, highest)
    # Two values only, such as a mask: its percentiles coincide.
    return (float(low), float(high)) if low < high else (lowest, highest)


def _sample(array: NDArray[Any]) -> NDArray[Any]:
    """Return about a million values of (c, i, j, k) on a regular grid: enough for a percentile, cheap for a volume."""
    long = [n for n in array.shape[1:] if n > 1]
    step = max(1, int(np.ceil((array.size / _SAMPLES) ** (1 / max(1, len(long))))))
    return np.asarray(array[:, ::step, ::step, ::step])
