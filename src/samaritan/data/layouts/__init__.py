"""Layouts: how people lay data sets out in folders, one file and one ``register`` line each.

A layout is known by what a folder holds, never by its name. Those that files of their own declare (``dataset.json``,
``dataset_description.json``, a table) are asked before those that only the names of folders and files suggest.
"""

from __future__ import annotations

from samaritan.data.layouts.layout import LAYOUTS, Layout
from samaritan.data.layouts.opening import open_data, read_folder

__all__ = ["LAYOUTS", "Layout", "open_data", "read_folder"]
