"""Trained parts of the generator."""
