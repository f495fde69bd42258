"""Affineur."""
