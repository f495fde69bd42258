"""What every step shares: its description, the context it runs in, how its work is recognized and written."""
