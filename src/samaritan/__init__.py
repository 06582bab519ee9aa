"""Segment Anything for medical images: prompt any scan, get a mask back in the right place."""

from samaritan._version import __version__

__all__ = ["__version__"]
