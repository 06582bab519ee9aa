"""What limits the default model, asked one experiment at a time: `python -m training.tiny.limits --data DATA ...`.

Each experiment is a module with a `table` of a `Subject`, and a line of `experiments.EXPERIMENTS`. They ask on the
held-out families and on some pictures of each training family; no case that is meant for evaluation is opened.
Decision 0011 and later ones have the tables.
"""
