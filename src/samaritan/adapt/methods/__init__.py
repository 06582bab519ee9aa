"""Ways to adapt a network, a file and a ``register`` line each.

A method is a frozen record of settings. ``prepare`` makes a network ready to be trained: it freezes what stays, adds
what is new, and returns what learns. All that learns afterwards requires a gradient; nothing else changes. So what was
learnt is the parameters that require one (``samaritan.adapt.learnt``), and ``prepare`` on another copy of the same
network makes room for them.

Whatever a method adds begins as nothing: right after ``prepare`` the network answers as before.
"""

from samaritan.adapt.methods.method import METHODS, Method, settings_of

__all__ = ["METHODS", "Method", "settings_of"]
