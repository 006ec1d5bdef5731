"""The recognition tasks of the source papers, and how predictions of any system are scored on them."""
