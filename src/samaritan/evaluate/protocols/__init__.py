"""Protocols: how a simulated person asks for an object, one function and one ``register`` line each.

A protocol is a generator: it yields what it asks, and is sent what the model answers. So it does not know the model,
can be written down and replayed, and several objects can be asked for in step.
"""

from samaritan.evaluate.protocols.protocol import PROTOCOLS, SUITES, Answer, Asking, Protocol, Question, chosen

__all__ = ["PROTOCOLS", "SUITES", "Answer", "Asking", "Protocol", "Question", "chosen"]
