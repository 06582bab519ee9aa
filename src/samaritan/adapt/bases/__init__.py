"""What can be adapted, a file for each kind of network."""
