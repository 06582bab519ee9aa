"""Models that are adapted to find classes by themselves: a base's encoder, a head of several classes, no prompt."""
