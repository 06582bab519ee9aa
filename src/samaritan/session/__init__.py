"""One user's work on one image: prompts added and taken back, masks on demand, replayable from JSON."""

from samaritan.session.history import History
from samaritan.session.session import Session

__all__ = ["History", "Session"]
