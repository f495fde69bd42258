"""What an engine is, and references: from what people type to the engine and the model it names."""
