"""The training loop, what it learns from, and the mask that keeps zeros."""
