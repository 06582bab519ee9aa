"""Images and label maps from and to files: one ``read``, one ``read_labels``, one ``write``."""

from samaritan.io.atomic import atomic_path
from samaritan.io.dispatch import read, read_labels, write
from samaritan.io.format import FORMATS, Format, ReadOptions, WriteOptions
from samaritan.io.frames import LossWarning

__all__ = [
    "FORMATS",
    "Format",
    "LossWarning",
    "ReadOptions",
    "WriteOptions",
    "atomic_path",
    "read",
    "read_labels",
    "write",
]
