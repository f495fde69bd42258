"""What another package may add to Affineur, one small example of each."""
