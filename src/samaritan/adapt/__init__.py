"""Training: one loop for every model and method, and the losses of the field.

It needs torch: ``pip install 'samaritan[train]'``.
"""

from samaritan.adapt.loop import Group, Result, Settings, Task, fit

__all__ = ["Group", "Result", "Settings", "Task", "fit"]
