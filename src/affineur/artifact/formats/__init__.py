"""One file per format of weights: what marks it in a folder, how its tensors are listed, its words."""
