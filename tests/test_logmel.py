"""The log-mel recogniser: its front end, its masks and its pooling."""

import math

import numpy as np
import pytest
import torch
from recogniser_fixtures import small_logmel, tone

from vocalburst.eval.logmel import attentive_statistics
from vocalburst.eval.recogniser import pad_features
from vocalburst.gen.data.errors import InputDataError


def test_frames_after_the_length_do_not_count():
    model = small_logmel()
    mel, lengths = pad_features([torch.randn(100, 37) - 6, torch.randn(100, 80) - 6])
    assert lengths.tolist() == [37, 80]
    garbage = mel.clone()
    garbage[0, :, 37:] = 99.0
    with torch.no_grad():
        torch.testing.assert_close(model.embed_features(garbage, lengths), model.embed_features(mel, lengths))


@pytest.mark.parametrize("normalised", [True, False])
def test_level_counts_only_without_normalisation(normalised):
    model = small_logmel(level_normalised=normalised)
    loud, quiet = model.embed_waves([tone(300, 0.6), tone(300, 0.6) * 0.01])
    assert torch.allclose(loud, quiet, atol=1e-3) == normalised


def test_features_floor_and_edges():
    model = small_logmel(dynamic_range_db=40.0)
    mel = model.features(tone(300, 0.6))
    assert float(mel.max() - mel.min()) == pytest.approx(40 * math.log(10) / 20, rel=1e-5)
    assert model.features(tone(300, 0.01)).shape == (100, 2048 // 256 + 1)
    with pytest.raises(InputDataError, match="silent"):
        model.features(np.zeros(5000, np.float32))


def test_attentive_statistics_against_a_loop():
    x, scores = torch.randn(2, 3, 7), torch.randn(2, 1, 7)
    pooled = attentive_statistics(x, scores, torch.tensor([7, 4]))
    for b, length in enumerate([7, 4]):
        weights = [math.exp(float(scores[b, 0, t])) for t in range(length)]
        for c in range(3):
            values = [float(x[b, c, t]) for t in range(length)]
            mean = np.average(values, weights=weights)
            deviation = math.sqrt(np.average((np.array(values) - mean) ** 2, weights=weights))
            assert float(pooled[b, c]) == pytest.approx(mean, abs=1e-5)
            assert float(pooled[b, 3 + c]) == pytest.approx(deviation, rel=1e-4)
