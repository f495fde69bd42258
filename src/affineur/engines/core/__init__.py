"""What every engine shares, and the registry of them; from what people type to an engine and its model."""
