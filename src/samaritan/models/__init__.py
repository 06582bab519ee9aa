"""Models: adapters from checkpoints and runtimes to ``core.model.Model``, and the registry that names them."""

from samaritan.models.registry import DEFAULT_MODEL, MODELS, load_model, model_card

__all__ = ["DEFAULT_MODEL", "MODELS", "load_model", "model_card"]
