"""One file per engine: what computes a model, which files it reads, how it loads them."""
