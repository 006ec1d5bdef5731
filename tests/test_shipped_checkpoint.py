"""The checkpoint that ships: complete, within its budget, described by its card, and audible."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ROOT

from vocalburst.gen.burst import BurstSpec
from vocalburst.gen.data.audio import SAMPLE_RATE, active_span
from vocalburst.gen.data.emotions import EMOGATOR_30
from vocalburst.gen.data.mel import MelConfig
from vocalburst.gen.pipeline import load_generator


@pytest.fixture(scope="module")
def shipped():
    return load_generator()


def test_it_knows_the_emotions_and_speakers_of_the_train_split(shipped):
    assert shipped.emotions == EMOGATOR_30
    assert shipped.n_voices == 214
    assert shipped.mel_config == MelConfig()


def test_its_card_and_the_readme_name_its_hash(shipped):
    card = (ROOT / "checkpoints" / "default" / "README.md").read_text()
    assert f"`{shipped.content_hash}`" in card
    for page in ("README.md", "docs/results.md"):
        assert f"`{shipped.content_hash[:12]}`" in (ROOT / page).read_text()


def test_all_weights_stay_within_the_budget():
    weights = list((ROOT / "checkpoints").rglob("*.safetensors"))
    assert len(weights) >= 5
    assert sum(path.stat().st_size for path in weights) < 60e6
    others = {path.suffix for path in (ROOT / "checkpoints").rglob("*") if path.is_file()}
    assert not others & {".pt", ".pth", ".bin", ".pkl", ".ckpt", ".npz"}


def test_a_clip_has_a_voice_in_it(shipped):
    """Louder in its middle than at its edges by more than noise could be, and within full scale."""
    waves = shipped("amusement", num_waveforms_per_prompt=3, seed=1).audios
    for wave in waves:
        assert wave.dtype == np.float32 and 0.3 < len(wave) / SAMPLE_RATE < 2.2
        assert np.isfinite(wave).all()
        energy = np.square(wave[: len(wave) // 480 * 480]).reshape(-1, 480).mean(axis=1)
        assert 10 * np.log10(energy.max() / np.median(energy[:5])) > 6


def test_bytes_do_not_depend_on_the_other_clips(shipped):
    """With the sizes of the real networks, whose matrix products are cut into other blocks than a tiny one's."""
    names = ("awe", "fear", "awe", "pain", "pride", "shame")
    settings = [shipped.defaults[name] for name in ("steps", "guidance", "scheduler")]
    specs = [BurstSpec({name: 1.0}, seed, *settings) for seed, name in enumerate(names)]
    together = shipped.synthesise(specs)
    for number in (0, 3, 5):  # first and last of a batch, and one of a batch that is filled up
        (alone,) = shipped.synthesise([specs[number]])
        assert alone.wave.tobytes() == together[number].wave.tobytes()


def test_a_voice_lasts_as_long_as_asked(shipped):
    for duration in (0.5, 1.5):
        (wave,) = shipped("awe", seed=2, duration=duration).audios
        first, last = active_span(wave)
        assert (last - first) / SAMPLE_RATE == pytest.approx(duration, rel=0.1)
