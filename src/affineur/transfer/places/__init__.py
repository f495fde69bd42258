"""Places a model, a corpus or a recipe can be at: one file a place, found by how a reference begins."""
