"""Outlines: what they are made of, where a token hears them, how generation draws and mixes them."""

from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import RATE, build_tiny_checkpoint, synthetic_burst
from test_conditioning import OUTLINE, conditions
from test_transformer import noisy, tiny

from vocalburst.gen import load_generator
from vocalburst.gen.burst import BurstSpec
from vocalburst.gen.data.errors import MissingModelError
from vocalburst.gen.data.mel import LogMel, MelConfig
from vocalburst.gen.dataset import active_frames, active_part, normalise_level
from vocalburst.gen.models.outline import BANDS, COARSE, SEGMENTS, OutlineEncoder, OutlineTrack, describe
from vocalburst.gen.models.prior import MIXED_IN, ClipPrior
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.pipeline import BurstPipeline

N_MELS = 16


def mels(n: int, seed: int = 0) -> list[torch.Tensor]:
    """Mels of different lengths whose bins go together."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(N_MELS, N_MELS, generator=generator)
    return [mix @ torch.randn(N_MELS, 20 + k % 13, generator=generator) for k in range(n)]


def test_descriptions_by_hand():
    """32 frames and 16 bins divide evenly, so every number is the mean of a rectangle."""
    mel = torch.randn(N_MELS, 32, generator=torch.Generator().manual_seed(0))
    level, change, spectrum, low = (group.numpy() for group in describe(mel))
    values = mel.numpy()
    wanted = [
        values[2 * b : 2 * b + 2, 2 * s : 2 * s + 2].mean() for b in range(BANDS) for s in range(SEGMENTS)
    ]
    np.testing.assert_allclose(level, wanted, atol=1e-6)
    np.testing.assert_allclose(spectrum, values.mean(axis=1), atol=1e-6)
    wanted = [values[b, 8 * s : 8 * s + 8].mean() for b in range(N_MELS // 2) for s in range(COARSE)]
    np.testing.assert_allclose(low, wanted, atol=1e-6)
    assert len(change) == BANDS * COARSE and (change > 0).all()


def test_a_steady_sound_moves_nowhere_and_one_frame_is_enough():
    for frames in (1, 2, 40):
        level, change, spectrum, _ = describe(torch.full((N_MELS, frames), -3.0))
        assert (change == 0).all()
        torch.testing.assert_close(level, torch.full_like(level, -3.0))
        torch.testing.assert_close(spectrum, torch.full_like(spectrum, -3.0))


def test_outlines_are_white_and_the_largest_axes():
    clips = mels(300)
    encoder = OutlineEncoder(N_MELS, 5).fit(clips)
    outlines = torch.stack([encoder(mel) for mel in clips]).double().numpy()
    np.testing.assert_allclose(outlines.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(outlines.T), np.eye(5), atol=1e-3)
    # The plain reference: every group divided by the root of its total variance, then the largest eigenvectors.
    groups = [np.stack([describe(mel)[k].double().numpy() for mel in clips]) for k in range(4)]
    scaled = np.hstack([(g - g.mean(axis=0)) / np.sqrt(g.var(axis=0, ddof=1).sum()) for g in groups])
    values, vectors = np.linalg.eigh(np.cov(scaled.T))
    wanted = scaled @ vectors[:, ::-1][:, :5] / np.sqrt(values[::-1][:5])
    signs = np.sign((wanted * outlines).sum(axis=0))
    np.testing.assert_allclose(outlines, wanted * signs, atol=1e-3)


def test_too_few_clips():
    with pytest.raises(ValueError, match=r"outlines of 5 numbers: expected more than 5 clips, got 5"):
        OutlineEncoder(N_MELS, 5).fit(mels(5))


def track(seed: int = 0) -> OutlineTrack:
    torch.manual_seed(seed)
    module = OutlineTrack(4, 8)
    torch.nn.init.normal_(module.out.weight)
    return module.eval()


@torch.no_grad()
def test_a_token_hears_the_knots_on_both_sides_of_it():
    module, outline = track(), torch.randn(2, 4)
    span = torch.tensor([[3.0, 19.0], [0.0, 40.0]])
    frames = torch.arange(50) + 0.5
    told = module(outline, span, frames)
    for row in range(2):
        knots = module.knots(outline[row]).reshape(SEGMENTS + 2, module.WIDTH)
        first, last = span[row].tolist()
        for n, frame in enumerate(frames.tolist()):
            place = min(max((frame - first) / (last - first) * SEGMENTS + 0.5, 0), SEGMENTS + 1)
            below = min(int(place), SEGMENTS)
            mixed = (1 - (place - below)) * knots[below] + (place - below) * knots[below + 1]
            torch.testing.assert_close(told[row, n], module.out(mixed), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_slower_burst_hears_the_same_later():
    module, outline, frames = track(), torch.randn(1, 4), torch.arange(30) + 0.5
    torch.testing.assert_close(
        module(outline, torch.tensor([[4.0, 20.0]]), frames),
        module(outline, torch.tensor([[8.0, 40.0]]), 2 * frames),
    )


@torch.no_grad()
def test_no_outline_says_nothing():
    module, outline = track(), torch.randn(2, 4)
    outline[1] = float("nan")
    told = module(outline, torch.tensor([[3.0, 19.0]] * 2), torch.arange(20) + 0.5)
    assert (told[1] == 0).all() and (told[0].abs().amax(dim=1) > 0).all()


@torch.no_grad()
def test_a_denoiser_hears_outlines_and_a_new_one_does_not_yet():
    x, sigma = noisy(2, 17)
    condition = conditions(2)
    other = replace(condition, outline=condition.outline + 1)
    unknown = replace(condition, outline=torch.full_like(condition.outline, float("nan")))
    model = tiny()
    answers = [model(x, sigma, one) for one in (condition, other, unknown)]
    assert all((a - b).abs().max() > 1e-3 for a, b in pairwise(answers))
    deaf = tiny(outline=0)
    settings = {key: value for key, value in deaf.config.items() if not key.startswith("_")}
    fresh = BurstTransformer(**settings | {"outline": OUTLINE}).eval()
    fresh.load_state_dict({**fresh.state_dict(), **deaf.state_dict()})
    for one in (condition, other, unknown):
        torch.testing.assert_close(fresh(x, sigma, one), deaf(x, sigma, one))


def test_the_prior_keeps_outlines_with_their_rows(tmp_path):
    rows = np.array([(k % 2, 0, 1.0 + k / 8, 0.5 + k / 8, -20.0) for k in range(8)])
    outlines, onsets = np.arange(24.0).reshape(8, 3), np.arange(8) / 16
    ClipPrior.from_rows(rows, outlines, onsets).save_pretrained(tmp_path)
    prior = ClipPrior.from_pretrained(tmp_path)
    for seed in range(20):
        drawn = prior.draw({1: 1.0}, None, None, np.random.default_rng(seed))
        k = round((drawn.seconds - 1) * 8)
        assert k % 2 == 1 and drawn.onset == k / 16
        np.testing.assert_array_equal(drawn.outline, outlines[k])
        first, last = (drawn.span(0.5)[0] * 0.5).tolist()
        assert first == pytest.approx(drawn.onset) and last - first == pytest.approx(drawn.active_seconds)


@pytest.fixture(scope="module")
def outlined(tmp_path_factory) -> Path:
    """The tiny checkpoint with outlines of four numbers."""
    return build_tiny_checkpoint(tmp_path_factory.mktemp("outlined") / "tiny", outline=4)


@pytest.fixture(scope="module")
def pipeline(outlined) -> BurstPipeline:
    return load_generator(outlined)


def spec(seed: int = 0, vector=None, **changes) -> BurstSpec:
    return BurstSpec(vector or {"awe": 1.0}, seed, 4, 1.0, "euler", **changes)


def rows_of(pipeline: BurstPipeline, emotion: str) -> np.ndarray:
    chosen = pipeline.prior.rows[:, 0] == pipeline.emotions.index(emotion)
    return pipeline.prior.outlines[chosen].numpy()


def test_a_clip_has_the_outline_of_its_row_and_some_of_another(pipeline):
    """Of the emotion's two rows each seed's own one and `MIXED_IN` of the other one, at unit norm."""
    rows = rows_of(pipeline, "awe")
    firsts = set()
    for seed in range(24):
        drawn = pipeline.attributes(spec(seed))
        row = (pipeline.prior.rows[:, 4] == drawn.level_db).nonzero()[0, 0]
        own = pipeline.prior.outlines[row].numpy()
        first = int(np.abs(rows - own).max(axis=1).argmin())
        wanted = (own + MIXED_IN * rows[1 - first]) / np.hypot(1, MIXED_IN)
        np.testing.assert_allclose(drawn.outline, wanted, atol=1e-5)
        assert drawn.onset == float(pipeline.prior.onsets[row]) and drawn.place == int(row)
        firsts.add(first)
    assert firsts == {0, 1}


def test_a_drawn_voice_is_mixed_with_that_of_the_other_clip(pipeline):
    """Each of the two voices of awe is the first of some clips and the second of the others; an asked one is itself."""
    of_awe = pipeline.prior.rows[:, 0] == pipeline.emotions.index("awe")
    voices = {int(voice) for voice in pipeline.prior.rows[of_awe, 1]}
    assert len(voices) == 2
    drawn = [pipeline.attributes(spec(seed)) for seed in range(24)]
    assert {(one.voice, one.second_voice) for one in drawn} == set(permutations(voices))
    faint, full = (pipeline.attributes(spec(3, {"awe": weight})) for weight in (0.2, 1.0))
    assert (faint.voice, faint.second_voice) == (full.voice, full.second_voice)
    for pure in (
        spec(3, voice=min(voices)),
        spec(3, {"awe": 0.5, "fear": 0.5}),
        spec(3, prior_vector={"awe": 0.5, "fear": 0.5}),
        spec(3, voice_mixed=False),
    ):
        assert pipeline.attributes(pure).second_voice is None
    asked = pipeline.attributes(spec(3, {"fear": 1.0}, voice=full.voice, second_voice=full.second_voice))
    assert (asked.voice, asked.second_voice) == (full.voice, full.second_voice)
    told = pipeline.condition([spec(3), spec(3, voice=1)], [full, pipeline.attributes(spec(3, voice=1))])
    assert told.voice.tolist() == [[full.voice, full.second_voice], [1, -1]]


@pytest.mark.parametrize("voices", [(3, 3), (-1, 3), (3, -1)])
def test_one_voice_or_none_is_not_mixed(voices):
    rows = np.array([(0, voice, 1.0, 0.5, -20.0) for voice in voices])
    prior = ClipPrior.from_rows(rows, np.eye(2), np.zeros(2))
    drawn = prior.draw({0: 1.0}, None, None, np.random.default_rng(0))
    mixed = prior.mixed({0: 1.0}, drawn, {0}, None, 0)
    assert mixed.second_voice is None and (mixed.outline > 0).all()


def test_the_only_row_of_a_voice_and_emotion_keeps_its_outline(pipeline):
    rows = pipeline.prior.rows
    voice = int(rows[rows[:, 0] == pipeline.emotions.index("awe")][0, 1])
    drawn = pipeline.attributes(spec(1, voice=voice))
    np.testing.assert_array_equal(drawn.outline, rows_of(pipeline, "awe")[0])


def test_the_outline_is_heard_with_noise_of_the_seed(pipeline):
    jitter = pipeline.outline.config.jitter
    noise = []
    for seed in range(200):
        own = pipeline.attributes(spec(seed))
        told = pipeline.condition([spec(seed)], [own]).outline[0].numpy()
        noise.append(told - own.outline)
    assert np.std(noise) == pytest.approx(jitter, rel=0.1) and abs(np.mean(noise)) < 0.2 * jitter
    again = pipeline.condition([spec(7)], [pipeline.attributes(spec(7))]).outline[0].numpy()
    np.testing.assert_array_equal(again - pipeline.attributes(spec(7)).outline, noise[7])


def test_another_outline_is_another_clip(pipeline, monkeypatch):
    (plain,) = pipeline.synthesise([spec(1)])
    drawn = pipeline.attributes(spec(1))
    monkeypatch.setattr(
        BurstPipeline, "attributes", lambda self, spec: replace(drawn, outline=-drawn.outline)
    )
    (other,) = pipeline.synthesise([spec(1)])
    assert plain.wave.tobytes() != other.wave.tobytes() and plain.seed == other.seed


def test_mixes_and_intensities_mix_outlines(pipeline):
    """Every weight multiplies an outline of its emotion, what is left to 1 one of any clip, at unit norm."""
    awe, fear, every = rows_of(pipeline, "awe"), rows_of(pipeline, "fear"), pipeline.prior.outlines.numpy()
    weights = {"awe": 0.5, "fear": 0.3}
    found = pipeline.attributes(spec(3, weights)).outline
    norm = np.sqrt(0.5**2 + 0.3**2 + 0.2**2)
    candidates = [(0.5 * a + 0.3 * f + 0.2 * e) / norm for a in awe for f in fear for e in every]
    assert min(np.abs(found - one).max() for one in candidates) < 1e-5
    faint = pipeline.attributes(spec(3, {"awe": 0.2})).outline
    norm = np.sqrt(0.2**2 + 0.8**2)
    own = [
        (awe[i] + MIXED_IN * awe[1 - i]) / np.hypot(1, MIXED_IN) for i in (0, 1)
    ]  # awe alone decided what was drawn
    assert min(np.abs(faint - (0.2 * a + 0.8 * e) / norm).max() for a in own for e in every) < 1e-5


def test_a_sweep_goes_from_an_outline_of_the_one_to_one_of_the_other(pipeline):
    middle = {"awe": 0.5, "fear": 0.5}
    found = [
        pipeline.attributes(spec(5, vector, prior_vector=middle)).outline
        for vector in ({"awe": 1.0}, middle, {"fear": 1.0})
    ]
    np.testing.assert_allclose(found[1], (found[0] + found[2]) / np.sqrt(2), atol=1e-6)
    for one, emotion in ((found[0], "awe"), (found[2], "fear")):  # the lengths were drawn by both
        assert (np.abs(rows_of(pipeline, emotion) - one).max(axis=1) == 0).any()


def test_an_asked_duration_sets_where_the_outline_lies(pipeline):
    drawn = pipeline.attributes(spec(duration=0.4))
    frames = drawn.span(pipeline.mel_config.hop_length / RATE)[0]
    assert float(frames[1] - frames[0]) * pipeline.mel_config.hop_length / RATE == pytest.approx(0.4)
    assert 0 < drawn.onset < drawn.seconds - drawn.active_seconds


def test_the_outline_of_a_clip_that_is_varied(pipeline):
    clip = np.concatenate([np.zeros(RATE // 10, np.float32), synthetic_burst(3, 0.5)])
    drawn = pipeline.attributes_of(clip, -1)
    loud = normalise_level(clip)[0]
    mel = LogMel(MelConfig())(torch.from_numpy(loud))
    wanted = pipeline.outline(active_part(mel, active_frames(loud, MelConfig())))
    np.testing.assert_allclose(drawn.outline, wanted.numpy(), atol=1e-5)
    assert drawn.onset >= 0.1
    quieter = pipeline.attributes_of(0.1 * clip, -1)
    np.testing.assert_allclose(quieter.outline, drawn.outline, atol=0.05)


def test_the_outline_of_a_variation_goes_over_into_one_of_the_emotion(pipeline):
    clip = synthetic_burst(3, 0.5)
    own = pipeline.attributes_of(clip, -1).outline
    for strength, kept in ((0.28, 0.96), (0.8, 0.6), (1.0, 0.0)):
        found = pipeline.attributes(spec(like=clip, strength=strength)).outline
        candidates = [kept * own + strength * row for row in rows_of(pipeline, "awe")]
        assert min(np.abs(found - one).max() for one in candidates) < 1e-5


def test_folder_round_trip_and_a_folder_without_its_outlines(pipeline, outlined, tmp_path):
    pipeline.save_pretrained(tmp_path / "whole")
    loaded = load_generator(tmp_path / "whole")
    a, b = (one("awe", seed=2).audios[0] for one in (pipeline, loaded))
    assert a.tobytes() == b.tobytes()
    for path in (tmp_path / "whole" / "outline").iterdir():
        path.unlink()
    (tmp_path / "whole" / "outline").rmdir()
    with pytest.raises(
        MissingModelError, match=r"hears outlines of 4 numbers, the folder outline is missing"
    ):
        load_generator(tmp_path / "whole")


def test_half_precision_changes_an_outline_little(pipeline):
    clip = synthetic_burst(3, 0.5)
    exact = pipeline.attributes_of(clip, -1).outline
    with torch.autocast("cpu", torch.bfloat16):
        rough = pipeline.attributes_of(clip, -1).outline
    assert rough.dtype == np.float32
    np.testing.assert_allclose(rough, exact, atol=0.2 + 0.02 * np.abs(exact).max())
