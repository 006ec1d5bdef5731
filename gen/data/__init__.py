"""The shared floor: emotion names, audio files, log-mel spectrograms, manifests, corpora.

Imports nothing else of this project; both halves (`vocalburst.gen`, `vocalburst.eval`) may import it.
"""
