"""The pipeline: bytes that depend on the clip alone, what a request changes, folders, schedulers, guidance."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import RATE, build_tiny_checkpoint, synthetic_burst
from diffusers import AudioPipelineOutput, FlowMatchHeunDiscreteScheduler

from vocalburst.gen import generate_bursts, load_generator
from vocalburst.gen.burst import BurstSpec
from vocalburst.gen.checkpoint import content_hash
from vocalburst.gen.data.audio import active_span
from vocalburst.gen.data.errors import InputDataError, MissingModelError
from vocalburst.gen.dataset import normalise_level
from vocalburst.gen.models.prior import Attributes
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.pipeline import BurstPipeline
from vocalburst.gen.sampling import SCHEDULERS
from vocalburst.gen.synthesis import MARGIN, ROWS


@pytest.fixture(scope="module")
def pipeline(tiny_checkpoint) -> BurstPipeline:
    return load_generator(tiny_checkpoint)


def spec(seed: int = 3, **changes) -> BurstSpec:
    return replace(BurstSpec({"awe": 1.0}, seed, steps=3, guidance=1.5, scheduler="euler"), **changes)


def wave(pipeline, *arguments, **changes) -> np.ndarray:
    return pipeline.synthesise([spec(*arguments, **changes)])[0].wave


def test_bytes_do_not_depend_on_the_other_clips(pipeline):
    specs = [spec(seed, vector={name: 1.0}) for seed, name in enumerate(("awe", "fear", "awe", "pain"))]
    together = pipeline.synthesise(specs)
    for one, burst in zip(specs, together, strict=True):
        (alone,) = pipeline.synthesise([one])
        assert alone.wave.tobytes() == burst.wave.tobytes() and alone.mel.tobytes() == burst.mel.tobytes()
    backwards = pipeline.synthesise(specs[::-1])[::-1]
    assert [b.wave.tobytes() for b in backwards] == [b.wave.tobytes() for b in together]


def test_bytes_of_the_longest_clips_do_not_depend_on_shorter_ones(pipeline):
    """Batches of nothing but the longest have no padding of their own, and attention without a mask is another one."""
    longest = [spec(seed, duration=pipeline.durations[1]) for seed in range(ROWS["cpu"])]
    among_themselves = pipeline.synthesise(longest)
    (beside_shorter,) = pipeline.synthesise([spec(9), spec(8), longest[0]])[2:]
    assert beside_shorter.wave.tobytes() == among_themselves[0].wave.tobytes()


def test_bytes_do_not_depend_on_threads(pipeline):
    before = torch.get_num_threads()
    waves = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        waves.append(wave(pipeline).tobytes())
        assert torch.get_num_threads() == threads  # and it is put back
    torch.set_num_threads(before)
    assert waves[0] == waves[1]


def test_bytes_do_not_depend_on_global_random_states(pipeline):
    torch.manual_seed(1)
    first = wave(pipeline)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert wave(pipeline).tobytes() == first.tobytes()
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_asked_for_changes_the_sound(pipeline):
    waves = {
        "base": wave(pipeline, voice=0, duration=0.4),
        "seed": wave(pipeline, 4, voice=0, duration=0.4),
        "voice": wave(pipeline, voice=1, duration=0.4),
        "duration": wave(pipeline, voice=0, duration=0.5),
        "emotion": wave(pipeline, voice=0, duration=0.4, vector={"fear": 1.0}),
        "intensity": wave(pipeline, voice=0, duration=0.4, vector={"awe": 0.5}),
        "mix": wave(pipeline, voice=0, duration=0.4, vector={"awe": 1.0, "fear": 0.5}),
        "steps": wave(pipeline, voice=0, duration=0.4, steps=4),
        "guidance": wave(pipeline, voice=0, duration=0.4, guidance=3.0),
        "scheduler": wave(pipeline, voice=0, duration=0.4, scheduler="heun"),
    }
    assert all(np.isfinite(w).all() and np.abs(w).max() > 0 for w in waves.values())
    assert len({w.tobytes() for w in waves.values()}) == len(waves)


@pytest.mark.parametrize("seconds", [0.25, 0.5, 0.75])
def test_a_duration_sets_the_length(pipeline, seconds):
    (burst,) = pipeline.synthesise([spec(duration=seconds, stretched=False)])
    assert burst.duration == seconds and burst.stretch is None
    samples = round((seconds + MARGIN) * RATE)
    assert len(burst.wave) == samples // 256 * 256
    assert burst.mel.shape == (100, samples // 256 + 1)


@pytest.mark.parametrize("seconds", [0.25, 0.5, 0.75])
def test_the_voice_is_stretched_to_the_duration(pipeline, seconds):
    """The tiny model's voice fills the whole clip, margin and all."""
    (plain,) = pipeline.synthesise([spec(duration=seconds, stretched=False)])
    (burst,) = pipeline.synthesise([spec(duration=seconds)])
    before, after = (np.subtract(*active_span(b.wave)[::-1]) / RATE for b in (plain, burst))
    assert abs(before / seconds - 1) > 0.1 > abs(after / seconds - 1)
    assert burst.stretch == pytest.approx(seconds / before)
    assert burst.mel.shape[1] == len(burst.wave) // 256 + 1


def test_a_voice_of_the_right_length_is_left_alone(pipeline, monkeypatch):
    (plain,) = pipeline.synthesise([spec(duration=0.5, stretched=False)])
    monkeypatch.setattr("vocalburst.gen.synthesis.stretch_factor", lambda active, asked, done: 1.0)
    (burst,) = pipeline.synthesise([spec(duration=0.5)])
    assert burst.stretch == 1.0 and burst.wave.tobytes() == plain.wave.tobytes()


def test_a_sweep_keeps_noise_length_level_and_voice(pipeline):
    middle = {"awe": 0.5, "fear": 0.5}
    ends = [spec(7, vector=vector, prior_vector=middle) for vector in ({"awe": 1.0}, middle, {"fear": 1.0})]
    assert len({pipeline.attributes(one) for one in ends}) == 1
    assert len({pipeline.attributes(replace(one, prior_vector=None)) for one in ends}) > 1
    bursts = pipeline.synthesise(ends)
    assert len({b.wave.tobytes() for b in bursts}) == 3
    assert len({(len(b.wave), b.voice, b.duration, b.seed) for b in bursts}) == 1


def like(seconds: float = 0.6) -> np.ndarray:
    return 0.3 * synthetic_burst(2, seconds)


def test_a_variation_has_the_length_and_level_of_its_clip_and_no_voice(pipeline):
    clip = like()
    drawn = pipeline.attributes(spec(like=clip))
    _, active_seconds, level = normalise_level(clip)
    assert drawn == Attributes(len(clip) / RATE, active_seconds, level, -1, active_span(clip)[0] / RATE)
    (burst,) = pipeline.synthesise([spec(like=clip, strength=0.5)])
    assert len(burst.wave) == len(clip) // 256 * 256 and burst.voice is None
    assert burst.duration == active_seconds and burst.stretch is None
    (voiced,) = pipeline.synthesise([spec(like=clip, strength=0.5, voice=2)])
    assert voiced.voice == 2 and voiced.wave.tobytes() != burst.wave.tobytes()


def test_the_level_of_the_clip_only_sets_the_level_of_the_result(pipeline):
    """Its mel is taken at the level of training clips; the condition says how loud it was."""
    x = [pipeline.encode_clips([spec(like=gain * like())], 57) for gain in (1.0, 0.1)]
    torch.testing.assert_close(*x, atol=2e-3, rtol=0)
    quiet, loud = (pipeline.attributes(spec(like=gain * like())).level_db for gain in (0.1, 1.0))
    assert loud - quiet == pytest.approx(20, abs=1e-3)


def test_strength_one_is_the_clip_forgotten(pipeline, monkeypatch):
    clip, other = like(), 0.3 * synthetic_burst(9, 0.6, pitch=500)
    # Level and active length are conditions, so only mels made under equal ones are equal.
    drawn = pipeline.attributes(spec(like=clip))
    monkeypatch.setattr(BurstPipeline, "attributes", lambda self, spec: drawn)
    a, b = (pipeline.synthesise([spec(like=wave, strength=1.0)])[0] for wave in (clip, other))
    c, d = (pipeline.synthesise([spec(like=wave, strength=0.4)])[0] for wave in (clip, other))
    assert a.mel.tobytes() == b.mel.tobytes() and c.mel.tobytes() != d.mel.tobytes()


def test_weak_variations_stay_near_their_clip(pipeline):
    target = pipeline.encode_clips([spec(like=like())], 57)[0]

    def distance(strength: float) -> float:
        (burst,) = pipeline.synthesise([spec(like=like(), strength=strength, steps=20, guidance=1.0)])
        x = pipeline.normalizer.normalize(torch.from_numpy(burst.mel))
        return float((x - target).square().mean())

    away = [distance(strength) for strength in (0.05, 0.3, 0.6, 1.0)]
    assert away == sorted(away) and away[0] < 0.1 * away[-1]


def test_guidance_covers_the_same_part_of_a_shorter_way(tiny_checkpoint):
    own = load_generator(tiny_checkpoint)
    asked = spec(like=like(), strength=0.5, steps=10, guidance=4.0)

    def result(interval: list[float]) -> bytes:
        own.defaults["guidance_interval"] = interval
        return own.synthesise([asked])[0].wave.tobytes()

    everywhere = result([0.0, 1.0])
    assert result([0.1, 1.0]) == everywhere  # the lowest level, 0.1, is above 0.5 * 0.1
    assert len({result([low, 1.0]) for low in (0.0, 0.7, 0.9)}) == 3  # from 0.1, 0.4 and 0.5 on
    unguided = own.synthesise([replace(asked, guidance=1.0)])[0].wave.tobytes()
    assert result([0.9, 1.0]) != unguided == result([1.1, 1.2])


@torch.inference_mode()
def test_padded_variations_agree_with_clips_alone(pipeline):
    specs = [spec(seed, like=like(seconds), strength=0.5) for seed, seconds in enumerate((0.4, 0.6, 0.7))]
    drawn = [pipeline.attributes(s) for s in specs]
    padded = pipeline._synthesise_rows(specs, drawn, pipeline.padded(drawn[0]))
    for first, second in zip(padded, pipeline.synthesise(specs), strict=True):
        np.testing.assert_allclose(first.mel, second.mel, atol=1e-4)
        np.testing.assert_allclose(first.wave, second.wave, atol=1e-4)


def test_variations_through_the_diffusers_call(pipeline):
    wave = pipeline("awe", seed=4, like=like(), strength=0.4, num_inference_steps=3).audios[0]
    (burst,) = pipeline.synthesise([spec(4, like=like(), strength=0.4)])
    assert wave.tobytes() == burst.wave.tobytes()


def test_without_a_duration_length_voice_and_level_come_from_the_prior(pipeline):
    rows = pipeline.prior.rows.numpy()
    index = pipeline.emotions.index("awe")
    for seed in range(4):
        drawn = pipeline.attributes(spec(seed))
        assert [index, drawn.voice, drawn.seconds, drawn.active_seconds, drawn.level_db] in rows.tolist()
        (burst,) = pipeline.synthesise([spec(seed)])
        assert (burst.voice, burst.duration) == (drawn.voice, drawn.active_seconds)
        assert len(burst.wave) == round(drawn.seconds * RATE) // 256 * 256


def test_the_condition_says_what_was_asked(pipeline):
    specs = [spec(vector={"awe": 0.7, "fear": 0.3}, voice=2, duration=0.4), spec()]
    condition = pipeline.condition(specs, [pipeline.attributes(s) for s in specs])
    awe, fear = pipeline.emotions.index("awe"), pipeline.emotions.index("fear")
    assert condition.emotion[0, awe] == torch.tensor(0.7) and condition.emotion[0, fear] == torch.tensor(0.3)
    assert condition.emotion[0].count_nonzero() == 2 and condition.emotion_known.all()
    assert condition.voice[0].tolist() == [2, -1] and (condition.country == -1).all()
    torch.testing.assert_close(condition.scalars[0, :2], torch.tensor([0.4 + MARGIN, 0.4]))
    assert condition.scalars[:, 3].isnan().all()
    assert condition.augmentation.tolist() == [[0.0, 1.0], [0.0, 0.0]]


@torch.inference_mode()
def test_padded_rows_agree_with_clips_alone(pipeline):
    """The way of accelerators: one padded batch of a fixed shape."""
    specs = [spec(seed, vector={name: 1.0}) for seed, name in enumerate(("awe", "fear", "pain"))]
    specs += specs[:1] * 2
    drawn = [pipeline.attributes(s) for s in specs]
    padded = pipeline._synthesise_rows(specs, drawn, pipeline.padded(drawn[0]))
    alone = pipeline.synthesise(specs[:3])
    assert len({len(burst.wave) for burst in alone}) > 1
    for first, second in zip(padded, alone, strict=False):
        np.testing.assert_allclose(first.mel, second.mel, atol=1e-4)
        np.testing.assert_allclose(first.wave, second.wave, atol=1e-4)
    assert padded[3].wave.tobytes() == padded[4].wave.tobytes()


def test_call_returns_what_diffusers_returns(pipeline):
    options = {"num_waveforms_per_prompt": 2, "seed": 5, "num_inference_steps": 2, "guidance_scale": 2.0}
    output = pipeline("awe:0.7,fear:0.3", intensity=0.5, **options)
    assert isinstance(output, AudioPipelineOutput) and len(output.audios) == 2
    (audios,) = pipeline("awe:0.7,fear:0.3", intensity=0.5, return_dict=False, **options)
    specs = [spec(seed, vector={"awe": 0.35, "fear": 0.15}, steps=2, guidance=2.0) for seed in (5, 6)]
    for first, second, burst in zip(output.audios, audios, pipeline.synthesise(specs), strict=True):
        assert first.dtype == np.float32 and first.ndim == 1
        assert first.tobytes() == second.tobytes() == burst.wave.tobytes()


def test_defaults_come_from_the_checkpoint(pipeline):
    default = pipeline("awe", seed=1).audios[0]
    same = pipeline("awe", seed=1, num_inference_steps=4, guidance_scale=1.5, scheduler="euler").audios[0]
    assert default.tobytes() == same.tobytes()  # the tiny checkpoint's 4 steps


def test_generate_bursts(tiny_checkpoint, pipeline):
    (only,) = generate_bursts("awe", checkpoint=tiny_checkpoint, seed=9)
    assert only.tobytes() == pipeline("awe", seed=9).audios[0].tobytes()


def test_folder_round_trip(pipeline, tiny_checkpoint, tmp_path):
    pipeline.save_pretrained(tmp_path / "copy")
    copy = BurstPipeline.from_pretrained(tmp_path / "copy")
    assert wave(copy).tobytes() == wave(pipeline).tobytes()
    assert copy.defaults == pipeline.defaults
    assert copy.content_hash == pipeline.content_hash == content_hash(tiny_checkpoint)
    assert not [p for p in (tmp_path / "copy").rglob("*") if p.suffix not in (".json", ".safetensors", "")]


def test_another_vocoder(pipeline, tiny_checkpoint, tmp_path):
    other = build_tiny_checkpoint(tmp_path / "other", seed=1)
    swapped = load_generator(tiny_checkpoint, vocoder=other / "vocoder")
    (ours,), (theirs,) = pipeline.synthesise([spec()]), swapped.synthesise([spec()])
    assert ours.mel.tobytes() == theirs.mel.tobytes() and ours.wave.tobytes() != theirs.wave.tobytes()


def test_schedulers_can_be_swapped(tiny_checkpoint, pipeline):
    own = load_generator(tiny_checkpoint)
    own.scheduler = FlowMatchHeunDiscreteScheduler.from_config(own.scheduler.config)
    assert wave(own).tobytes() == wave(pipeline, scheduler="heun").tobytes() != wave(pipeline).tobytes()
    assert all(np.isfinite(wave(pipeline, scheduler=name)).all() for name in SCHEDULERS)


def test_guidance_interval(tiny_checkpoint, pipeline):
    own = load_generator(tiny_checkpoint)
    own.defaults["guidance_interval"] = [2.0, 3.0]  # no noise level lies there
    assert wave(own, guidance=4.0).tobytes() == wave(own, guidance=1.0).tobytes()
    assert wave(own, guidance=1.0).tobytes() == wave(pipeline, guidance=1.0).tobytes()


def test_the_checkpoint_stretches_its_noise_levels(tiny_checkpoint, pipeline, tmp_path, monkeypatch):
    own = load_generator(tiny_checkpoint)
    own.defaults["stretch"] = 1.4
    own.save_pretrained(tmp_path / "stretched")
    loaded = load_generator(tmp_path / "stretched")
    assert wave(loaded, guidance=1.0).tobytes() == wave(own, guidance=1.0).tobytes()
    assert wave(own, guidance=1.0).tobytes() != wave(pipeline, guidance=1.0).tobytes()
    seen = []
    monkeypatch.setattr(
        "vocalburst.gen.synthesis.sample", lambda *_, **options: seen.append(options["stretch"]) or _[1]
    )
    wave(loaded, guidance=1.0), wave(pipeline, guidance=1.0)
    assert seen == [1.4, 1.0]


@pytest.fixture
def with_guide(tiny_checkpoint) -> BurstPipeline:
    """The tiny pipeline with a smaller network of the same emotions and voices as its guide."""
    pipeline = load_generator(tiny_checkpoint)
    names = {key: pipeline.transformer.config[key] for key in ("emotions", "voices")}
    guide = BurstTransformer(**names, dim=16, n_layers=1, n_heads=1, bottleneck=8).eval()
    for parameter in guide.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    pipeline.register_modules(guide=guide)
    pipeline.defaults["guidance_by"] = "guide"
    return pipeline


def test_autoguidance_from_the_folder_guide(with_guide, pipeline, tmp_path):
    guided = wave(with_guide, guidance=2.0)
    assert guided.tobytes() != wave(pipeline, guidance=2.0).tobytes()
    assert wave(with_guide, guidance=1.0).tobytes() == wave(pipeline, guidance=1.0).tobytes()
    with_guide.save_pretrained(tmp_path / "guided")
    assert (tmp_path / "guided" / "guide" / "diffusion_pytorch_model.safetensors").is_file()
    loaded = load_generator(tmp_path / "guided")
    assert wave(loaded, guidance=2.0).tobytes() == guided.tobytes()


def test_a_guide_that_is_its_model_guides_nowhere(with_guide, pipeline):
    with_guide.register_modules(guide=with_guide.transformer)
    unguided = wave(pipeline, guidance=1.0)
    np.testing.assert_allclose(wave(with_guide, guidance=3.0), unguided, atol=1e-4)


def test_guidance_by_a_guide_that_is_missing(tiny_checkpoint, tmp_path):
    pipeline = load_generator(tiny_checkpoint)
    pipeline.defaults["guidance_by"] = "guide"
    pipeline.save_pretrained(tmp_path / "no-guide")
    with pytest.raises(MissingModelError, match=r"guidance_by .* has no folder guide"):
        load_generator(tmp_path / "no-guide")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"vector": {"joy": 1.0}}, r"expected emotions of this checkpoint, got \['joy'\]"),
        ({"vector": {}}, "got none"),
        ({"voice": 5}, "voice 5: this checkpoint has the voices 0 to 4"),
        ({"voice": -1}, "voice -1"),
        ({"voice": 1, "second_voice": 5}, "voice 5: this checkpoint has the voices 0 to 4"),
        ({"voice": 1, "second_voice": 1}, "a second voice is mixed into another one, got 1 into 1"),
        ({"second_voice": 1}, "a second voice is mixed into another one, got 1 into None"),
        ({"duration": 0.1}, "duration 0.1 s: this checkpoint makes 0.2 to 0.80 s"),
        ({"duration": 9.0}, "duration 9 s"),
        ({"scheduler": "ddim"}, "unknown scheduler 'ddim'; known: euler"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"strength": 0.0}, "strength must be above 0 and at most 1, got 0"),
        ({"quantile": 1.0}, "quantile must be at least 0 and below 1, got 1"),
        ({"strength": 1.5}, "strength must be above 0 and at most 1, got 1.5"),
        ({"prior_vector": {"joy": 1.0}}, r"expected emotions of this checkpoint, got \['joy'\]"),
        ({"like": like(), "duration": 0.5}, "a varied clip keeps its own length"),
        ({"like": like(0.9)}, "expected a clip of 0.2 to 0.80 s to vary, got 0.90 s"),
        ({"like": like(0.1)}, "to vary, got 0.10 s"),
        ({"like": np.zeros(RATE // 2, dtype=np.float32)}, "expected a clip with sound to vary"),
        ({"like": np.full(RATE // 2, np.nan, dtype=np.float32)}, "expected a clip with sound to vary"),
    ],
)
def test_specs_that_cannot_be_answered(pipeline, changes, sentence):
    with pytest.raises(InputDataError, match=sentence):
        pipeline.synthesise([spec(), spec(**changes)])


def test_an_emotion_nobody_knows_names_the_nearest(pipeline):
    with pytest.raises(InputDataError, match="nearest: awe"):
        pipeline("awwe")
