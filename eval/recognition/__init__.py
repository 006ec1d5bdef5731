"""Recognition models of the source papers, trained on anyone's clips: `registry.MODELS` has all of them."""
