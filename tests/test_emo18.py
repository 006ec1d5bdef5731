"""Emo18: framing to the sample, the network against plain loops, and what padding may not do."""

import numpy as np
import pytest
import torch
from emo18_reference import reference_embedding, reference_frames
from recogniser_fixtures import random_emo18, tone, unsettle

from vocalburst.eval.emo18 import BLOCKS, EPSILON, FRAME, Block, official_frames
from vocalburst.gen.data.audio import SAMPLE_RATE


def frames_of(wave: np.ndarray) -> np.ndarray:
    return official_frames(torch.from_numpy(wave.astype(np.float32))).numpy()


def test_a_whole_number_of_frames_gets_a_frame_of_zeros():
    wave = np.linspace(0.1, 0.5, 2 * FRAME)
    frames = frames_of(wave)
    assert frames.shape == (3, FRAME) and not frames[2].any()
    np.testing.assert_allclose(frames[:2].ravel(), wave / 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("length", "n_frames"), [(1, 1), (1599, 1), (1600, 2), (1601, 2), (3199, 2), (3200, 3)]
)
def test_number_of_frames(length, n_frames):
    frames = frames_of(np.full(length, 0.25))
    assert frames.shape == (n_frames, FRAME)
    np.testing.assert_array_equal(frames.ravel()[:length] == 0, False)
    assert not frames.ravel()[length:].any()


def test_the_largest_sample_counts_with_its_sign():
    assert frames_of(np.array([0.1, -0.8, 0.4]))[0, :3] == pytest.approx([0.25, -2.0, 1.0], rel=1e-6)
    assert frames_of(np.array([-0.2, -0.4]))[0, :2] == pytest.approx([1.0, 2.0], rel=1e-5)  # turned round
    assert frames_of(np.array([EPSILON, 0.0]))[0, :2] == pytest.approx([0.5, 0.0])
    assert not frames_of(np.zeros(100)).any()


def test_network_against_loops():
    """A negative scale, where the maximum is another sample than without it, is among the weights."""
    model = random_emo18()
    with torch.no_grad():
        for block in model.network.blocks:
            block.norm.weight.copy_(torch.randn(len(block.norm.weight)))
            block.norm.running_var.uniform_(0.5, 2)
    rng = np.random.default_rng(1)
    clips = [rng.normal(size=3 * FRAME) * 0.3, rng.normal(size=FRAME // 2), -tone(310, 0.15)]
    frames = [official_frames(torch.from_numpy(wave.astype(np.float32))) for wave in clips]
    with torch.no_grad():
        embeddings = model.network(frames).numpy()
    state = {name: value.double().numpy() for name, value in model.network.state_dict().items()}
    for embedding, wave in zip(embeddings, clips, strict=True):
        np.testing.assert_allclose(embedding, reference_embedding(reference_frames(wave), state), atol=2e-5)
    assert np.abs(embeddings[0] - embeddings[1]).max() > 0.01


def test_blocks_are_those_of_the_official_code():
    """Convolution, batch norm, leaky ReLU, pool: the published order, with torch's own layers."""
    torch.manual_seed(3)
    x = torch.randn(4, 1, FRAME)
    for sizes, length in zip(BLOCKS, (159, 19, 2), strict=True):
        block = Block(*sizes)
        torch.nn.init.normal_(block.norm.weight)
        block.norm.running_mean.normal_()
        block.norm.running_var.uniform_(0.5, 2)
        block.eval()
        official = torch.nn.Sequential(
            block.conv, block.norm, torch.nn.LeakyReLU(), torch.nn.MaxPool1d(block.pool)
        )
        assert official(x).shape[1:] == (sizes[1], length)
        torch.testing.assert_close(block(x), official(x))
        x = block(x)


def test_size_is_the_published_one():
    body = sum(p.numel() for p in random_emo18().network.parameters())
    assert body + 10 * 256 + 10 == 1_565_002  # with the official outputs for ten emotions


def test_the_last_own_frame_counts_and_the_level_does_not():
    model = random_emo18()
    wave = tone(300, 0.8)
    louder, quiet = model.embed_waves([wave]), model.embed_waves([wave * 0.01])
    torch.testing.assert_close(louder, quiet, atol=1e-3, rtol=0)
    longer = np.concatenate([wave, tone(900, 0.2)])
    assert (model.embed_waves([longer]) - louder).abs().max() > 1e-2


def test_features_are_the_active_part_at_16_khz():
    model = random_emo18()
    wave = np.pad(tone(440, 0.6), (4800, 4800))
    features = model.features(wave).numpy()
    assert abs(len(features) - 9600) <= 1
    middle = np.abs(np.fft.rfft(features * np.hanning(len(features))))
    assert middle.argmax() * 16_000 / len(features) == pytest.approx(440, abs=2)
    assert len(model.features(tone(440, 0.6)[:10])) > 0
    assert SAMPLE_RATE == 24_000


def test_training_forgets_no_frame_and_counts_no_padding():
    """In training too, batch norms see the frames of clips only: more padding, same gradients."""
    model = unsettle(random_emo18()).train()
    x = torch.randn(2, 4000)
    lengths = torch.tensor([1700, 4000])
    gradients = []
    for padding in (0, 3200):
        model.zero_grad()
        padded = torch.nn.functional.pad(x, (0, padding))
        model.embed_features(padded, lengths).square().sum().backward()
        gradients.append(model.network.blocks[0].conv.weight.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1])
    assert gradients[0].abs().max() > 0
