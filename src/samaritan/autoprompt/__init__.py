"""Prompts that no person gave: simulated users, for training and for evaluation."""
