"""The queue before the engine: who may wait, what is computed together, and the model it is computed by."""
