"""What single engines are made of: taggers, checkpoints, sessions; imported when a model is loaded."""
