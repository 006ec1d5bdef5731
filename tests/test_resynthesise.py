"""The copy-synthesis control and the picture of generated over real mels, on a synthetic corpus."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import soundfile
from conftest import RATE, synthetic_burst

from vocalburst.gen.compare_mels import compare_mels
from vocalburst.gen.data.audio import read_wave
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip, write_manifest
from vocalburst.gen.data.prepare import measure
from vocalburst.gen.pipeline import load_generator
from vocalburst.gen.resynthesise import resynthesise


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Three dev clips each of awe and fear, of different pitch, by two speakers."""
    folder = tmp_path_factory.mktemp("corpus")
    clips = []
    for number, emotion in enumerate(["awe", "fear"] * 3):
        wave = synthetic_burst(number, seconds=0.4 + 0.05 * number, pitch=150.0 + 60 * number)
        soundfile.write(folder / f"{number}.wav", wave, RATE)
        clips.append(
            Clip(
                id=f"clip-{number}", path=f"{number}.wav", corpus="toy", split="dev", speaker=f"s{number % 2}",
                labelled=("awe", "fear"), emotions={emotion: 1.0}, **measure(wave),
            )
        )  # fmt: skip
    write_manifest(folder / "manifest.jsonl", clips)
    return folder / "manifest.jsonl"


def rows_of(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_every_row_names_its_file_and_source(manifest, tiny_checkpoint, tmp_path):
    assert resynthesise(manifest, tmp_path / "copies", "dev", 2, 0, tiny_checkpoint) == 4
    rows = rows_of(tmp_path / "copies")
    assert sorted(row["emotion"] for row in rows) == ["awe", "awe", "fear", "fear"]
    assert {row["checkpoint"] for row in rows} == {load_generator(tiny_checkpoint).content_hash}
    for row in rows:
        data = (tmp_path / "copies" / row["file_name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        source = read_wave(manifest.parent / f"{row['source'].removeprefix('clip-')}.wav")
        copy = read_wave(data)
        assert 0 <= len(source) - len(copy) < 256  # whole mel frames
        assert np.abs(copy).max() > 0


def test_the_draw_depends_on_the_seed_alone(manifest, tiny_checkpoint, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 3)):
        resynthesise(manifest, tmp_path / name, "dev", 1, seed, tiny_checkpoint)
    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "b")
    assert rows_of(tmp_path / "a") != rows_of(tmp_path / "c")


def test_too_few_clips_and_a_used_folder_are_refused(manifest, tiny_checkpoint, tmp_path):
    with pytest.raises(InputDataError, match="expected 4 dev clips of every emotion"):
        resynthesise(manifest, tmp_path / "copies", "dev", 4, 0, tiny_checkpoint)
    with pytest.raises(InputDataError, match="too few of all"):
        resynthesise(manifest, tmp_path / "copies", "test", 1, 0, tiny_checkpoint)
    resynthesise(manifest, tmp_path / "copies", "dev", 1, 0, tiny_checkpoint)
    with pytest.raises(InputDataError, match="already holds clips"):
        resynthesise(manifest, tmp_path / "copies", "dev", 1, 0, tiny_checkpoint)


def test_the_picture_shows_both_and_refuses_what_is_missing(manifest, tiny_checkpoint, tmp_path, monkeypatch):
    from vocalburst.gen import generate

    out = tmp_path / "clips"
    arguments = ["--emotion", "awe", "--n", "2", "--steps", "1", "--workers", "1", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["generate", *arguments, "--checkpoint", str(tiny_checkpoint)])
    with pytest.raises(SystemExit) as ended:
        generate.main()
    assert ended.value.code == 0
    compare_mels(out, manifest, ["awe"], 2, tmp_path / "mels.png", "dev", 0)
    assert (tmp_path / "mels.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputDataError, match="expected 2 clips of fear, found 0"):
        compare_mels(out, manifest, ["fear"], 2, tmp_path / "none.png", "dev", 0)
    assert not (tmp_path / "none.png").exists()
