"""A smaller model of the same kind: fewer layers, narrower layers, fewer pieces."""
