"""Training of the default model, `tiny`."""
