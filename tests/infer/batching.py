"""A fake model that does several at once, and keeps a record of it."""

from samaritan.core.model import telling_which
from samaritan.testing import FakeModel


class Batching(FakeModel):
    """Encodes ``most`` planes at once, and decodes any number of objects."""

    def __init__(self, most=1):
        super().__init__()
        self.most = most
        self.embedded = []  # how many were encoded at once, call by call
        self.asked = []  # how many objects were decoded at once
        self.seen = []  # what was encoded, as bytes

    def most_images(self):
        return self.most

    def embed(self, image):
        self.embedded.append(1)
        return self._one(image)

    def embed_batch(self, images):
        self.embedded.append(len(images))
        return [self._one(image) for image in images]

    def _one(self, image):
        self.seen.append(image.array.tobytes())
        return super().embed(image)

    def decode_batch(self, embedding, prompts, previous=None):
        self.asked.append(len(prompts))
        before = [None] * len(prompts) if previous is None else previous
        found = []
        for number, both in enumerate(zip(prompts, before, strict=True), 1):
            with telling_which("object", number, len(prompts)):
                found.append(self.decode(embedding, *both))
        return found

    @property
    def twice(self):
        """How many images were encoded that had been encoded before."""
        return len(self.seen) - len(set(self.seen))
