"""How weights are chosen to become zero: one file per method."""
