"""From an image and prompts to masks: intensities, planes, volumes, embeddings kept, memory planned."""

from samaritan.infer.cache import EmbeddingCache
from samaritan.infer.propagation import Propagation
from samaritan.infer.segment import Segmentation, SegmentedObject, segment

__all__ = ["EmbeddingCache", "Propagation", "Segmentation", "SegmentedObject", "segment"]
