"""Geometry, images, prompts, the model protocol, registries and errors: what every other layer speaks in."""
