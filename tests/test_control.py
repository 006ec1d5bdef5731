"""Curves of control: from rows and numbers of known shape, and from clips through the command line."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import RATE, synthetic_burst

from vocalburst.eval import control, curves
from vocalburst.eval.asked import AskedRow, read_asked, series_of
from vocalburst.eval.spectra import spectral_distance
from vocalburst.gen.data.audio import encode_wave
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.mel import LogMel

EMOTIONS = ("awe", "fear", "pain", "relief")


def row(name: str, emotion: str = "awe", index: int = 0, **changes) -> AskedRow:
    values = {
        "file_name": f"{name}.wav", "emotion": emotion, "sha256": "0" * 64, "run_seed": 0, "index": index,
        "emotion_vector": dict.fromkeys(emotion.split("+"), 1.0), "intensity": 1.0,
    }  # fmt: skip
    return AskedRow(**{**values, **changes})


def answers(**columns) -> np.ndarray:
    """Probabilities [N, 4] from those of some emotions; the rest is shared equally."""
    n = len(next(iter(columns.values())))
    table = np.full((n, 4), np.nan)
    for name, values in columns.items():
        table[:, EMOTIONS.index(name)] = values
    rest = (1 - np.nansum(table, axis=1)) / np.isnan(table).sum(axis=1)
    return np.where(np.isnan(table), rest[:, None], table)


def intensity_rows(n: int = 6) -> list[AskedRow]:
    levels = (0.2, 0.6, 1.0)
    return [
        row(f"{i}-{level}", index=i, intensity=level, emotion_vector={"awe": level})
        for i in range(n)
        for level in levels
    ]


def test_an_intensity_that_works():
    rows = intensity_rows()
    heard = [0.5 * r.intensity + 0.01 * r.index for r in rows]
    curve = curves.intensity_curve(rows, answers(awe=heard), EMOTIONS)
    assert [(line.asked, line.n) for line in curve.lines] == [("0.2", 6), ("0.6", 6), ("1", 6)]
    means = [line.measures["probability of the emotion"].value for line in curve.lines]
    assert means == pytest.approx([0.125, 0.325, 0.525])
    trend, gain = curve.trends.values()
    assert (trend.value, trend.low) == (pytest.approx(1), pytest.approx(1))
    assert gain.value == pytest.approx(0.4) and gain.high - gain.low < 1e-9
    assert curve.verdicts == ("the mean probability rises at every step",)


def test_an_intensity_that_does_nothing():
    rows = intensity_rows(60)
    rng = np.random.default_rng(0)
    curve = curves.intensity_curve(rows, answers(awe=rng.uniform(0.1, 0.6, len(rows))), EMOTIONS)
    trend = next(iter(curve.trends.values()))
    assert trend.low < 0 < trend.high
    falling = curves.intensity_curve(rows, answers(awe=[1 - 0.9 * r.intensity for r in rows]), EMOTIONS)
    assert falling.verdicts == ("the mean probability does not rise at every step",)


def test_units_are_compared_with_themselves():
    """Seeds that differ widely do not hide a small rise in each."""
    rows = intensity_rows(20)
    level = np.random.default_rng(1).uniform(0.05, 0.9, 20)
    heard = [level[r.index] + 0.01 * r.intensity for r in rows]
    trend = next(iter(curves.intensity_curve(rows, answers(awe=heard), EMOTIONS).trends.values()))
    assert trend.low == pytest.approx(1)


def test_incomplete_series_are_refused():
    rows = intensity_rows()
    with pytest.raises(
        InputDataError, match=r"expected a clip of the same seed with the intensity 1, found none"
    ):
        series_of(rows[:-1], [r.intensity for r in rows[:-1]], "the intensity")
    with pytest.raises(InputDataError, match=r"a second clip of the same seed with the intensity 0\.2"):
        series_of([*rows, rows[0]], [r.intensity for r in [*rows, rows[0]]], "the intensity")
    with pytest.raises(InputDataError, match=r"at least two values of the intensity, got \[1.0\]"):
        series_of([row("a")], [1.0], "the intensity")


def mix_rows() -> list[AskedRow]:
    rows = [row(f"m{i}", "awe+fear", i) for i in range(10)]
    return rows + [row(f"{name}{i}", name, i) for name in EMOTIONS for i in range(10)]


@pytest.mark.parametrize(("fear", "parts"), [(0.4, 2), (0.1, 1)])
def test_a_mix_is_held_against_clips_of_other_emotions(fear, parts):
    rows = mix_rows()
    noise = 0.02 * np.random.default_rng(2).standard_normal(len(rows))
    level = {"awe+fear": (0.3, fear), "awe": (0.6, 0.1), "fear": (0.1, 0.7)}
    heard = np.array([level.get(r.emotion, (0.1, 0.1)) for r in rows])
    curve = curves.mix_curve(rows, answers(awe=heard[:, 0] + noise, fear=heard[:, 1] - noise), EMOTIONS)
    assert [line.asked for line in curve.lines] == ["awe of awe + fear", "fear of awe + fear"]
    awe = curve.lines[0].measures
    assert awe["in the mix"].value == pytest.approx(0.3, abs=0.02)
    assert awe["in clips of other emotions"].value == pytest.approx(
        0.1, abs=0.02
    )  # pain and relief, not fear
    assert awe["in clips of it alone"].value == pytest.approx(0.6, abs=0.02)
    assert curve.verdicts == (f"{parts} of 2 parts are heard more in their mix, by the whole interval",)


def test_only_clips_of_full_intensity_stand_beside_a_mix():
    rows = [*mix_rows(), *(row(f"weak{i}", "pain", i, intensity=0.2) for i in range(50))]
    heard = [0.9 if r.file_name.startswith("weak") else 0.2 for r in rows]
    curve = curves.mix_curve(rows, answers(awe=heard), EMOTIONS)
    assert curve.lines[0].measures["in clips of other emotions"].value == pytest.approx(0.2)


def test_mixes_need_something_to_be_held_against():
    with pytest.raises(InputDataError, match="expected clips of mixes and, from another folder"):
        curves.mix_curve(mix_rows()[:10], answers(awe=[0.1] * 10), EMOTIONS)


def test_durations():
    rows = [row(f"{s}-{i}", index=i, duration_asked=s) for s in (0.5, 1.0) for i in range(4)]
    active = np.array([0.5, 0.549, 0.551, 0.4, 1.0, 1.1, 0.9, 1.05])
    curve = curves.duration_curve(rows, active)
    short, long, both = curve.lines
    assert (short.asked, short.n, both.n) == ("0.5 s", 4, 8)
    assert [line.measures["within 10 %"].value for line in curve.lines] == [0.5, 1.0, 0.75]
    assert long.measures["came / asked"].value == pytest.approx(1.0125)
    assert long.measures["mean error, %"].value == pytest.approx(6.25)
    with pytest.raises(InputDataError, match=r"x.wav: no duration was asked for"):
        curves.duration_curve([row("x")], np.array([1.0]))


def sweep_rows(n: int = 5) -> list[AskedRow]:
    places = (0.0, 0.5, 1.0)
    vectors = ({"awe": 1.0}, {"awe": 0.5, "fear": 0.5}, {"fear": 1.0})
    return [
        row(f"{i}-{p}", "awe+fear", i, sweep_position=p, emotion_vector=v)
        for i in range(n) for p, v in zip(places, vectors, strict=True)
    ]  # fmt: skip


def test_a_sweep_falls_and_rises():
    rows = sweep_rows()
    place = np.array([r.sweep_position for r in rows])
    curve = curves.sweep_curve(rows, answers(awe=0.6 - 0.5 * place, fear=0.1 + 0.5 * place), EMOTIONS)
    start, end = curve.trends.values()
    assert start.value == pytest.approx(-1) and end.value == pytest.approx(1)
    assert curve.verdicts == (
        "the starting emotion falls at every step", "the ending emotion rises at every step",
    )  # fmt: skip
    flat = curves.sweep_curve(rows, answers(awe=0.1 + 0 * place), EMOTIONS)
    assert flat.verdicts[0] == "the starting emotion does not fall at every step"


def test_what_is_no_sweep():
    with pytest.raises(InputDataError, match=r"a.wav: is no clip of a sweep"):
        curves.sweep_curve([row("a")], answers(awe=[0.1]), EMOTIONS)
    rows = [row(f"{i}{p}", index=i, sweep_position=p) for i in range(2) for p in (0.0, 1.0)]
    with pytest.raises(InputDataError, match="over intensities; measure them as --of intensity"):
        curves.sweep_curve(rows, answers(awe=[0.1] * 4), EMOTIONS)


def test_an_emotion_that_the_evaluator_does_not_know():
    with pytest.raises(InputDataError, match="does not know 'horror'"):
        curves.intensity_curve([row("a", "horror")], answers(awe=[0.1]), EMOTIONS)


def test_variations():
    digest = "ab" * 32
    rows = [
        row(f"{i}{s}", index=i, strength=s, like="x.wav", like_sha256=digest)
        for i in range(4)
        for s in (0.25, 0.5, 1.0)
    ]
    strength = np.array([r.strength for r in rows])
    curve = curves.variation_curve(rows, answers(awe=0.3 * strength), EMOTIONS, 10 * strength, 1 - strength)
    spectral, embedded, probability = curve.trends.values()
    assert (spectral.value, embedded.value, probability.value) == pytest.approx((1, -1, 1))
    assert curve.verdicts[1] == "the distance of embeddings does not rise at every step"


def test_distance_of_spectra():
    wave, log_mel = synthetic_burst(0), LogMel()
    assert spectral_distance(wave, wave, log_mel) == 0
    assert spectral_distance(0.1 * wave, wave, log_mel) == pytest.approx(
        0, abs=0.02
    )  # the level does not count
    near = spectral_distance(wave + 0.001 * synthetic_burst(5, pitch=300), wave, log_mel)
    far = spectral_distance(synthetic_burst(5, pitch=500), wave, log_mel)
    assert 0 < near < 0.5 * far
    assert spectral_distance(wave[: len(wave) // 256 * 256], wave, log_mel) < 0.1  # what a vocoder leaves out
    with pytest.raises(InputDataError, match="expected two waves of one length"):
        spectral_distance(wave[:-1000], wave, log_mel)


# From here on through files and the command line.


def write_folder(folder: Path, rows: list[tuple[AskedRow, np.ndarray]]) -> Path:
    folder.mkdir(exist_ok=True)
    lines = []
    for one, wave in rows:
        data = encode_wave(wave)
        (folder / one.file_name).write_bytes(data)
        lines.append(
            json.dumps({**json.loads(one.model_dump_json()), "sha256": hashlib.sha256(data).hexdigest()})
        )
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["control", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            control.main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out, printed.err

    return call


def test_durations_from_files(command, tmp_path):
    """A burst of known length between silences; what the row says about lengths is not believed."""
    silence = np.zeros(RATE // 4, dtype=np.float32)
    rows = []
    for i, seconds in enumerate((0.4, 0.5, 0.8)):
        steady = np.sin(np.arange(round(seconds * RATE)) / 20).astype(np.float32)
        wave = np.concatenate([silence, 0.3 * steady, silence])
        rows.append((row(str(i), index=i, duration_asked=0.5, active_seconds=0.5), wave))
    write_folder(tmp_path / "d", rows)
    code, out, err = command("d", "--of", "duration")
    assert code == 0 and err == ""
    assert out.splitlines()[0] == "| duration asked | n | came / asked | mean error, % | within 10 % |"
    assert out.splitlines()[2].startswith("| 0.5 s | 3 | ") and "| 0.333 [" in out.splitlines()[2]
    code, out, _ = command("d", "--of", "duration", "--json")
    assert code == 0 and json.loads(out)["lines"][0]["within 10 %"]["value"] == pytest.approx(1 / 3)


def voice_wave(voice: int, emotion: int, seed: int) -> np.ndarray:
    """Noise through a resonance of the voice, and one of the emotion; pitch of the voice."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(
        synthetic_burst(seed, 0.5, 120 + 60 * voice) + 0.02 * rng.standard_normal(RATE // 2)
    )
    hertz = np.fft.rfftfreq(RATE // 2, 1 / RATE)
    for centre in (700 + 500 * voice, 5000 + 400 * emotion):
        spectrum *= 1 + 8 * np.exp(-(((hertz - centre) / 250) ** 2))
    wave = np.fft.irfft(spectrum)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def test_voices_from_files_beside_real_speakers(command, tmp_path):
    rows = [
        (row(f"{v}{e}", EMOTIONS[e], v, voice_asked=v), voice_wave(v, e, 10 * v + e))
        for v in range(4)
        for e in range(4)
    ]
    write_folder(tmp_path / "voices", rows)
    same = [
        (row(f"{v}{e}", EMOTIONS[e], v, speaker=f"s{v}"), voice_wave(0, e, 500 + 10 * v + e))
        for v in range(5) for e in range(4)
    ]  # fmt: skip
    write_folder(tmp_path / "people", same)
    code, out, err = command("voices", "--of", "voice", "--reference", "people", "--json")
    assert code == 0 and err == ""
    generated, real = json.loads(out)["lines"]
    name = "same voice is nearer (0.5: chance)"
    assert [line["clips"] for line in (generated, real)] == ["generated, 4 voices", "real, people, 4 voices"]
    assert (generated["n"], real["n"]) == (16, 16)
    assert generated[name]["value"] > 0.85 > 0.7 > real[name]["value"]
    assert generated["distance within a voice"]["value"] < generated["distance to other voices"]["value"]
    code, _, err = command("people", "--of", "voice")
    assert code == 3 and "no voice was asked for" in err


def test_two_mixed_voices_are_another_voice():
    drawn, alone = row("a", second_voice=7), row("a", voice_asked=3)
    mixed = row("a", voice_asked=3, second_voice=7)
    assert (drawn.voices_asked, alone.voices_asked, mixed.voices_asked) == (None, "3", "3+7")
    assert len({drawn.unit, alone.unit, mixed.unit}) == 3


def test_a_reference_with_too_few_speakers(command, tmp_path):
    rows = [
        (row(f"{v}{e}", EMOTIONS[e], v, voice_asked=v), voice_wave(v, e, v + e))
        for v in range(3)
        for e in range(2)
    ]
    write_folder(tmp_path / "voices", rows)
    people = [(row(f"{e}", EMOTIONS[e], speaker="s"), voice_wave(0, e, e)) for e in range(2)]
    write_folder(tmp_path / "people", people)
    code, out, err = command("voices", "--of", "voice", "--reference", "people")
    assert (code, out) == (3, "") and "people: expected 3 speakers with all 2 emotions, has 1" in err


def test_intensities_mixes_sweeps_and_variations_through_the_evaluator_that_ships(command, tmp_path):
    write_folder(tmp_path / "i", [(one, synthetic_burst(k)) for k, one in enumerate(intensity_rows(2))])
    write_folder(tmp_path / "m", [(one, synthetic_burst(k)) for k, one in enumerate(mix_rows()[:3])])
    write_folder(tmp_path / "a", [(one, synthetic_burst(k)) for k, one in enumerate(mix_rows()[28:33])])
    write_folder(tmp_path / "s", [(one, synthetic_burst(k)) for k, one in enumerate(sweep_rows(2))])
    clip = encode_wave(synthetic_burst(77))
    (tmp_path / "clip.wav").write_bytes(clip)
    varied = [
        (row(f"{i}{s}", index=i, strength=s, like="clip.wav", like_sha256=hashlib.sha256(clip).hexdigest()),
         (1 - s) * synthetic_burst(77) + s * synthetic_burst(i, pitch=400))
        for i in range(2) for s in (0.1, 0.5, 0.9)
    ]  # fmt: skip
    write_folder(tmp_path / "v", varied)
    for kind, folders, first in (
        ("intensity", ["i"], "| intensity asked | n | probability of the emotion | recognised as it |"),
        ("mix", ["m", "a"], "| part of a mix | n | in the mix | "),
        ("sweep", ["s"], "| position | n | "),
        ("variation", ["v"], "| strength | n | spectral distance to the clip, dB | "),
    ):
        code, out, err = command(*folders, "--of", kind, "--evaluator", "logmel")
        assert code == 0 and err == "" and out.startswith(first), (kind, err)
    assert "the spectral distance to the clip, dB rises at every step" in out
    (tmp_path / "clip.wav").write_bytes(encode_wave(synthetic_burst(78)))
    code, _, err = command("v", "--of", "variation")
    assert code == 3 and "clip.wav: its sha256 is not the one in the manifest" in err
    (tmp_path / "clip.wav").unlink()
    code, _, err = command("v", "--of", "variation")
    assert code == 3 and "varies clip.wav, which is not there" in err


def test_an_evaluator_does_not_judge_what_it_chose(command, tmp_path):
    from vocalburst.eval.evaluators import load_evaluator

    own = load_evaluator("logmel").id
    rows = [
        (one.model_copy(update={"selected_by": (own,)}), synthetic_burst(k))
        for k, one in enumerate(intensity_rows(1))
    ]
    write_folder(tmp_path / "i", rows)
    code, out, err = command("i", "--of", "intensity")
    assert (code, out) == (3, "") and f"was chosen by {own}, which therefore cannot judge it" in err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("none --of duration", 3, "none: expected the output folder of a finished generate"),
        ("bad --of duration", 3, "manifest.jsonl, line 1: not a clip made by generate"),
        ("empty --of duration", 3, "manifest.jsonl: holds no clips"),
        ("altered --of duration", 3, "0.wav: its sha256 is not the one in the manifest"),
        ("altered --of variation", 3, "varies no clip"),
        ("altered --of intensity --evaluator nobody", 4, "nobody: is no evaluator"),
    ],
)
def test_bad_input_is_one_sentence(command, tmp_path, arguments, code, says):
    for name in ("bad", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "bad" / "manifest.jsonl").write_text("{}\n")
    (tmp_path / "empty" / "manifest.jsonl").write_text("\n")
    folder = write_folder(tmp_path / "altered", [(row("0", duration_asked=0.5), synthetic_burst(0))])
    (folder / "0.wav").write_bytes(encode_wave(synthetic_burst(1)))
    ended, out, err = command(*arguments.split())
    assert (ended, out) == (code, "") and err.startswith("error: ") and err.count("\n") == 1 and says in err


def test_rows_of_generate_are_read(command, tmp_path, tiny_checkpoint, monkeypatch):
    """What the generator writes is what is read here: the only link between the two halves."""
    from vocalburst.gen import generate

    arguments = (
        "--from",
        "awe",
        "--to",
        "fear",
        "--positions",
        "2",
        "--duration",
        "0.4",
        "--steps",
        "2",
        "--workers",
        "1",
    )
    monkeypatch.setattr(
        sys, "argv", ["generate", *arguments, "--out", "made", "--checkpoint", str(tiny_checkpoint)]
    )
    with pytest.raises(SystemExit):
        generate.main()
    first, last = (clip.row for clip in read_asked(["made"]))
    assert (first.emotion_vector, last.emotion_vector) == ({"awe": 1.0}, {"fear": 1.0})
    assert first.unit == last.unit and (first.sweep_position, last.sweep_position) == (0.0, 1.0)
    code, out, _ = command("made", "--of", "duration")
    assert code == 0 and "| 0.4 s | 2 | " in out
