"""Small evaluators that count what they hear, and the clips that they hear."""

from types import SimpleNamespace

import numpy as np
import pytest
from clips_fixtures import EMOTIONS, write_tree
from recogniser_fixtures import SMALL

from vocalburst.eval.clips import open_clips


class Bands:
    """A small evaluator: log energy of four bands and the length; `heard` counts what it listens to."""

    id = "bands-0123456789ab"
    preprocessing = "none"
    dim = 5
    emotions = EMOTIONS
    space = "log energies of four bands"

    def __init__(self, **changes):
        self.heard = 0
        vars(self).update(changes)

    def listen(self, waves):
        self.heard += len(waves)
        rows = [[*(np.log(np.abs(part).sum()) for part in np.array_split(np.fft.rfft(wave), 4)), len(wave)]
                for wave in waves]  # fmt: skip
        embeddings = np.array(rows, np.float32)
        scores = np.exp(embeddings[:, :3].astype(float) - embeddings[:, :3].max())
        return SimpleNamespace(
            embeddings=embeddings,
            probabilities=None if self.emotions is None else scores / scores.sum(axis=1, keepdims=True),
        )


@pytest.fixture
def clips(tmp_path):
    return open_clips(write_tree(tmp_path / "clips"))


def same(one, other):
    np.testing.assert_array_equal(one.embeddings, other.embeddings)
    np.testing.assert_array_equal(one.probabilities, other.probabilities)


def answering(**answer):
    """An evaluator that answers as `Bands` but for what is given; a function gets the right answer."""

    class Wrong(Bands):
        def listen(self, waves):
            right = super().listen(waves)
            return SimpleNamespace(**{**vars(right), **{k: f(getattr(right, k)) for k, f in answer.items()}})

    return Wrong()


class Network(Bands):
    """A network that ships, with random weights."""

    def __init__(self, family):
        super().__init__()
        self.model = SMALL[family]()
        self.id, self.dim, self.emotions = family, self.model.dim, self.model.config.emotions

    def listen(self, waves):
        self.heard += len(waves)
        return SimpleNamespace(
            embeddings=self.model.embed_waves(waves).numpy(), probabilities=self.model.probabilities(waves)
        )
