"""From an image and prompts to masks: channels, intensities, planes, volumes, embeddings kept, memory planned."""

from samaritan.infer.cache import EmbeddingCache
from samaritan.infer.channels import Channels
from samaritan.infer.propagation import Propagation
from samaritan.infer.segment import Segmentation, SegmentedObject, every_class, segment

__all__ = ["Channels", "EmbeddingCache", "Propagation", "Segmentation", "SegmentedObject", "every_class", "segment"]
