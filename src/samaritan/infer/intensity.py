"""From a scanner's numbers to what a model was trained on: windows, percentiles, channels.

Which range of values is kept, the first that applies:

1. the window that the caller names or gives in numbers (``"file"``: the one that the image carries);
2. CT: the window that the model was trained on, if its card names one; else soft tissue. So too an image of unknown
   modality whose values are signed and reach -500: only Hounsfield units do that, and NIfTI files do not say their
   modality;
3. 8-bit values: all of 0 to 255, as they are;
4. anything else (MR, PET, 16-bit pictures): percentiles 0.5 to 99.5 of the voxels above the background, the way that
   MedSAM prepares MR (Ma et al. 2024, doi:10.1038/s41467-024-44824-z). The background is the lowest value.

Which channels: red, green and blue stay (a one-channel model gets their luma); of any other set of channels the first
is taken, and repeated for a model of three. Choose another with ``Image.channel``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import ImageError, UnknownNameError
from samaritan.core.image import RGB, Image, Window
from samaritan.core.model import ModelCard

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
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


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
class IntensityMap:
    """What is done to the values of every plane of one image; made once, so that all planes are alike.

    Parameters
    ----------
    low, high
        Values of the image that become the two ends of ``target``; what lies beyond is clipped.
    target
        Lowest and highest value that the model wants.
    channels
        Channels that the model wants, 1 or 3.
    """

    low: float
    high: float
    target: tuple[float, float]
    channels: int

    @classmethod
    def of(cls, image: Image, card: ModelCard, *, window: Window | str | None = None) -> IntensityMap:
        """Return the map that brings ``image`` to what the model of ``card`` wants; see the module for the rules.

        Raises
        ------
        ImageError
            If every voxel has the same value, or the window leaves nothing to see.
        UnknownNameError
            If there is no window of that name.
        """
        used = image.array if image.is_colour else image.array[:1]
        lowest, highest = float(used.min()), float(used.max())
        if lowest == highest:
            raise ImageError(
                got=f"an image whose voxels are all {lowest:g}",
                wanted="some contrast",
                fix="Check the file: there is nothing to segment",
            )
        low, high = _value_range(image, used, window, card.ct_window)
        if highest <= low or lowest >= high:
            raise ImageError(
                got=f"a window from {low:g} to {high:g} on values from {lowest:g} to {highest:g}: nothing to see",
                wanted="a window that overlaps the values",
                fix="Give another window: a name, or centre,width",
            )
        return cls(low, high, card.intensity_range, card.channels)

    def __call__(self, image: Image) -> Image:
        """Return the image or plane with the model's channels, float32 in the model's range.

        A grey image repeated to three channels is a view with stride 0 along them.
        """
        channels = image.array if image.is_colour else image.array[:1]
        scaled = self._scale(channels)
        if image.is_colour and self.channels == 1:
            scaled = np.tensordot(_LUMA, scaled, axes=1)[None]
        names = RGB if self.channels == 3 else ("intensity",)
        array = np.broadcast_to(scaled, (self.channels, *image.shape))
        return Image(array, image.geometry, names, image.modality, source=image.source)

    def _scale(self, values: NDArray[Any]) -> Floats:
        bottom, top = self.target
        # In the input's precision first: a float32 cannot hold the difference of two large 32-bit integers. But a
        # float16 cannot hold the limits.
        precise = values.astype(np.float32) if values.dtype == np.float16 else values
        clipped = np.clip(precise, self.low, self.high)
        unit = ((clipped - self.low) / (self.high - self.low)).astype(np.float32)
        np.clip(unit, 0.0, 1.0, out=unit)  # rounding may have gone beyond by a hair
        return np.asarray(unit * np.float32(top - bottom) + np.float32(bottom))


def _value_range(
    image: Image, used: NDArray[Any], window: Window | str | None, ct_window: Window | None
) -> tuple[float, float]:
    lowest, highest = float(used.min()), float(used.max())
    chosen = _window(image, window, lowest, ct_window)
    if chosen is not None:
        centre, width = chosen
        return centre - width / 2, centre + width / 2
    if used.dtype == np.uint8:
        return 0.0, 255.0
    sample = _sample(used)
    low, high = np.percentile(sample[sample > lowest], _PERCENTILES) if (sample > lowest).any() else (lowest, highest)
    # Two values only, such as a mask: its percentiles coincide.
    return (float(low), float(high)) if low < high else (lowest, highest)


def _window(image: Image, window: Window | str | None, lowest: float, ct_window: Window | None) -> Window | None:
    """Return the window to apply, or None where values should be scaled by percentile."""
    if window == FROM_FILE:
        if image.window is None:
            raise ImageError(
                got="window 'file' for an image that carries none",
                wanted="a DICOM file with window centre and width",
                fix="Name a window, or give centre,width",
            )
        return _checked(image.window)
    if window is not None:
        return parse_window(window) if isinstance(window, str) else _checked(window)
    hounsfield = image.modality == "CT" or (not image.modality and lowest <= _HU_BELOW)
    return (ct_window or WINDOWS[DEFAULT_CT_WINDOW]) if hounsfield else None


def _sample(array: NDArray[Any]) -> NDArray[Any]:
    """Return about a million values of (c, i, j, k) on a regular grid: enough for a percentile, cheap for a volume."""
    long = [n for n in array.shape[1:] if n > 1]
    step = max(1, int(np.ceil((array.size / _SAMPLES) ** (1 / max(1, len(long))))))
    return np.asarray(array[:, ::step, ::step, ::step])
