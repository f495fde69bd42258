"""What a rule is, and arithmetic that several sets share."""
