"""One file per format of weights: what marks it in a folder, how its tensors are listed, what is said of it."""
