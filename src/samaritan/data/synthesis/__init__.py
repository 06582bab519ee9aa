"""Images made from nothing, with the structures in them: an endless, seeded source for training.

A *scene* is drawn in three steps, each with a registry that a line extends: **shapes** lay out parts on an empty grid
(or a label map of real **anatomy** is deformed), an **appearance** paints the parts as one modality would show them,
and **artefacts** spoil the picture. Painting labels in random contrasts is what SynthSeg does for brain MR (Billot et
al. 2023); it teaches a network to follow boundaries rather than the grey values of one modality.

It needs OpenCV: ``pip install 'samaritan[train]'``.
"""

from samaritan.core.errors import MissingExtraError

try:
    import cv2 as _cv2  # noqa: F401 - the modules below need it: say so here, once
except ImportError as error:
    raise MissingExtraError(
        got="OpenCV is not installed", wanted="cv2", fix="pip install 'samaritan[train]'"
    ) from error

from samaritan.data.synthesis.anatomy import deform
from samaritan.data.synthesis.appearance import APPEARANCES, Appearance
from samaritan.data.synthesis.artefacts import spoil
from samaritan.data.synthesis.noise import smooth_noise
from samaritan.data.synthesis.scene import Scene, draw_scene, paint_scene
from samaritan.data.synthesis.shapes import SHAPES, Canvas
from samaritan.data.synthesis.sheet import contact_sheet

__all__ = [
    "APPEARANCES",
    "SHAPES",
    "Appearance",
    "Canvas",
    "Scene",
    "contact_sheet",
    "deform",
    "draw_scene",
    "paint_scene",
    "smooth_noise",
    "spoil",
]
