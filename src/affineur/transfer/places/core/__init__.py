"""What a place is, and what all places share."""
