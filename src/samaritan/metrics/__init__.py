"""How good masks are: pure functions of arrays, in any number of dimensions, with their spacing in millimetres.

Masks are booleans, ``reference`` first. Each function says what it gives where a mask is empty.
"""

from samaritan.metrics.boundary import boundary_iou
from samaritan.metrics.calibration import Calibration, calibration
from samaritan.metrics.instances import Detection, average_precision, detect, lesion_f1, panoptic_quality
from samaritan.metrics.interaction import area_under_clicks, clicks_to
from samaritan.metrics.overlap import dice, iou, precision, sensitivity, volume_similarity
from samaritan.metrics.surface import SurfaceDistances, assd, hd, hd95, nsd, surface_distances, surface_size

__all__ = [
    "Calibration",
    "Detection",
    "SurfaceDistances",
    "area_under_clicks",
    "assd",
    "average_precision",
    "boundary_iou",
    "calibration",
    "clicks_to",
    "detect",
    "dice",
    "hd",
    "hd95",
    "iou",
    "lesion_f1",
    "nsd",
    "panoptic_quality",
    "precision",
    "sensitivity",
    "surface_distances",
    "surface_size",
    "volume_similarity",
]
