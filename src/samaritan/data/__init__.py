"""Data: what models learn from and are measured on."""

from samaritan.data.case import Case, DataSet, Reference
from samaritan.data.layouts import open_data
from samaritan.data.reading import read_image, read_objects
from samaritan.data.references import Labelled

__all__ = ["Case", "DataSet", "Labelled", "Reference", "open_data", "read_image", "read_objects"]
