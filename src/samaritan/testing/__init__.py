"""What tests need without weights or files: a fake model, phantoms of known truth, conformance suites."""

from samaritan.testing.fake_model import FakeModel

__all__ = ["FakeModel"]
