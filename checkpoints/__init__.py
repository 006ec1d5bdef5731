"""Weights that ship with the package, found through `vocalburst.gen.checkpoint`."""
