"""Images and label maps from and to files."""
