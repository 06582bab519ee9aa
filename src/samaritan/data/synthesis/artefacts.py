"""Artefacts: what scanners, compression and careless windows do to a picture. All keep its shape and its range."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from samaritan.core.registry import Registry
from samaritan.data.synthesis.noise import Floats, smooth_noise

Artefact = Callable[[Floats, np.random.Generator], Floats]

ARTEFACTS: Registry[Artefact] = Registry("artefact", "samaritan.synthesis_artefacts")

# How often each befalls a picture.
_SHARES = {
    "inversion": 0.25, "tone_curve": 0.15, "contrast": 0.3, "gamma": 0.4, "bias_field": 0.2, "colour_mix": 0.1,
    "colour_cast": 0.2, "missing_channel": 0.03, "blur": 0.12, "low_resolution": 0.1, "thick_slices": 0.05,
    "motion": 0.04, "noise": 0.3, "gain_stripes": 0.04, "compression": 0.06, "narrow_window": 0.05,
}  # fmt: skip
_USUAL_SHARE = 0.05  # of an artefact that a plug-in registers
for _name in _SHARES:
    ARTEFACTS.register(_name, f"samaritan.data.synthesis.artefacts:{_name}")


def spoil(image: Floats, rng: np.random.Generator) -> Floats:
    """Return ``image`` (h, w, 3) with some artefacts, in the order in which they would come about, in [0, 255]."""
    spoilt = np.asarray(image, np.float32)
    for name in ARTEFACTS:
        if rng.random() < _SHARES.get(name, _USUAL_SHARE):
            spoilt = ARTEFACTS.get(name)(spoilt, rng)
    return np.clip(spoilt, 0, 255, out=np.array(spoilt, np.float32))


def inversion(image: Floats, _rng: np.random.Generator) -> Floats:
    """Swap black and white; colours stay."""
    return image if _is_coloured(image) else 255.0 - image


def contrast(image: Floats, rng: np.random.Generator) -> Floats:
    """Stretch or squeeze the range."""
    low, high = rng.uniform(-40, 40), rng.uniform(200, 310)
    return (image - np.float32(low)) * np.float32(255.0 / (high - low))


def gamma(image: Floats, rng: np.random.Generator) -> Floats:
    """Bend the curve of greys."""
    return np.asarray(255.0 * np.clip(image / 255.0, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.35))), np.float32)


def tone_curve(image: Floats, rng: np.random.Generator) -> Floats:
    """Map the greys through a smooth curve that need not rise, as another sequence or stain would show them."""
    knots = np.linspace(0, 255, int(rng.integers(3, 7)))
    heights = np.clip(knots + rng.normal(0, 60, len(knots)), 0, 255)
    table = np.interp(np.arange(256), knots, heights).astype(np.float32)
    return table[np.clip(image, 0, 255).astype(np.uint8)]


def colour_mix(image: Floats, rng: np.random.Generator) -> Floats:
    """Mix the colours into others, or into grey; grey stays as it is."""
    if not _is_coloured(image):
        return image
    shares = rng.dirichlet(np.full(3, 0.4), 3 if rng.random() < 0.6 else 1).astype(np.float32)
    return np.asarray(np.broadcast_to(image @ shares.T, image.shape), np.float32)


def bias_field(image: Floats, rng: np.random.Generator) -> Floats:
    """Shade smoothly, as coils and lamps do."""
    shade = 1 + np.float32(rng.uniform(0.1, 0.35)) * smooth_noise(image.shape, image.shape[0] / 2, rng)
    return np.asarray(image * shade[..., None], np.float32)


def colour_cast(image: Floats, rng: np.random.Generator) -> Floats:
    """Shift the colours."""
    return image * rng.uniform(0.8, 1.2, 3).astype(np.float32) + rng.normal(0, 8, 3).astype(np.float32)


def missing_channel(image: Floats, rng: np.random.Generator) -> Floats:
    """Lose one colour, if there are any."""
    if not _is_coloured(image):
        return image
    kept = np.ones(3, np.float32)
    kept[rng.integers(3)] = 0
    return image * kept


def blur(image: Floats, rng: np.random.Generator) -> Floats:
    """Defocus."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 2.0))))


def low_resolution(image: Floats, rng: np.random.Generator) -> Floats:
    """Shrink and enlarge again."""
    return _through(image, rng.uniform(0.3, 0.8), rng)


def thick_slices(image: Floats, rng: np.random.Generator) -> Floats:
    """Lose resolution along one side only, as in the side view of a volume of thick slices."""
    factor = rng.uniform(0.12, 0.5)
    return _through(image, (factor, 1.0) if rng.random() < 0.5 else (1.0, factor), rng)


def motion(image: Floats, rng: np.random.Generator) -> Floats:
    """Smear along a line, or add a shifted ghost."""
    length = int(rng.integers(3, 10))
    if rng.random() < 0.5:
        kernel = np.zeros((length, length), np.float32)
        cv2.line(kernel, (0, int(rng.integers(length))), (length - 1, int(rng.integers(length))), 1.0)
        return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()))
    return 0.8 * image + np.float32(0.2) * np.roll(image, length * int(rng.integers(2, 8)), axis=int(rng.integers(2)))


def noise(image: Floats, rng: np.random.Generator) -> Floats:
    """Add noise, at times more where it is bright."""
    grains = smooth_noise(image.shape, 1, rng) * np.float32(rng.exponential(9.0))
    return image + grains[..., None] * (0.5 + image / 255.0 if rng.random() < 0.3 else np.float32(1.0))


def gain_stripes(image: Floats, rng: np.random.Generator) -> Floats:
    """Vary the gain from line to line."""
    axis = int(rng.integers(2))
    gain = 1 + np.float32(rng.uniform(0.02, 0.12)) * rng.standard_normal(image.shape[axis], dtype=np.float32)
    return np.asarray(image * np.expand_dims(gain, (1 - axis, 2)), np.float32)


def compression(image: Floats, rng: np.random.Generator) -> Floats:
    """Go through JPEG."""
    coded = cv2.imencode(
        ".jpg", np.clip(image, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(8, 60))]
    )
    return np.asarray(cv2.imdecode(coded[1], cv2.IMREAD_COLOR), np.float32)


def narrow_window(image: Floats, rng: np.random.Generator) -> Floats:
    """Show a narrow range only: whole organs come out black or white, as lungs do in a soft-tissue window."""
    low, high = np.percentile(image[::4, ::4], (rng.uniform(2, 45), rng.uniform(60, 99)))
    return (image - np.float32(low)) * np.float32(255.0 / max(float(high - low), 20.0))


def _is_coloured(image: Floats) -> bool:
    return bool(np.abs(image[::8, ::8, 0] - image[::8, ::8, 2]).mean() > 3)


def _through(image: Floats, factor: float | tuple[float, float], rng: np.random.Generator) -> Floats:
    tall, wide = factor if isinstance(factor, tuple) else (factor, factor)
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(8, int(width * wide)), max(8, int(height * tall))), interpolation=cv2.INTER_AREA)
    way = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(small, (width, height), interpolation=way))
