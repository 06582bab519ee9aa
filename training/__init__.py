"""How the weights that ship are made. No part of the package."""
