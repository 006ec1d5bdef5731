"""The memory-mapped store of decoded waves."""

import numpy as np
import pytest
from corpora_fixtures import make_emogator, make_emogator_shards, voice, write_sound
from test_manifest import RECORD

from vocalburst.gen.data.audio import SAMPLE_RATE
from vocalburst.gen.data.corpora.emogator import read_emogator
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip, read_clip
from vocalburst.gen.data.prepare import prepare
from vocalburst.gen.data.store import WaveStore, content_key


def make_clips(root):
    """Two clips that are parts of one file, one of another, in an order that is not the files'."""
    write_sound(root / "b.wav", voice(1.0, 48_000, 1), 48_000)
    write_sound(root / "a.wav", voice(0.5, 16_000, 2), 16_000)
    return [
        Clip(**RECORD | {"id": "1", "path": "b.wav", "start": 0.5, "end": 0.75}),
        Clip(**RECORD | {"id": "2", "path": "a.wav"}),
        Clip(**RECORD | {"id": "3", "path": "b.wav"}),
    ]


def test_store_holds_what_the_clips_are(tmp_path):
    clips = make_clips(tmp_path)
    store = WaveStore.build(tmp_path, clips, tmp_path / "cache")
    assert len(store) == 3
    for index, clip in enumerate(clips):
        expected = read_clip(tmp_path, clip)
        assert store[index].dtype == np.float32
        np.testing.assert_allclose(store[index], expected, atol=0.5 / 32767 + 1e-7)
    assert len(store[0]) == 0.25 * SAMPLE_RATE


def test_second_build_decodes_nothing(tmp_path, monkeypatch):
    clips = make_clips(tmp_path)
    first = WaveStore.build(tmp_path, clips, tmp_path / "cache")

    def decode(*_args, **_options):
        raise AssertionError("decoded again")

    monkeypatch.setattr("vocalburst.gen.data.store.read_wave", decode)
    again = WaveStore.build(tmp_path, clips, tmp_path / "cache")
    np.testing.assert_array_equal(again[1], first[1])


def test_store_of_an_interrupted_build_is_built_again(tmp_path):
    clips = make_clips(tmp_path)
    folder = tmp_path / "cache" / content_key(tmp_path, clips)
    folder.mkdir(parents=True)
    (folder / "waves.i16").write_bytes(b"half")
    assert len(WaveStore.build(tmp_path, clips, tmp_path / "cache")[2]) == SAMPLE_RATE


def test_key_follows_files_parts_and_order(tmp_path):
    clips = make_clips(tmp_path)
    key = content_key(tmp_path, clips)
    assert key == content_key(tmp_path, list(clips))
    assert key != content_key(tmp_path, clips[::-1])
    assert key != content_key(tmp_path, [clips[0].model_copy(update={"end": 0.7}), *clips[1:]])
    write_sound(tmp_path / "a.wav", voice(0.6, 16_000, 2), 16_000)
    assert key != content_key(tmp_path, clips)


def test_missing_file_names_the_path(tmp_path):
    clips = make_clips(tmp_path)
    (tmp_path / "a.wav").unlink()
    with pytest.raises(InputDataError, match=r"a\.wav: cannot be read \(No such file"):
        WaveStore.build(tmp_path, clips, tmp_path / "cache")


def test_loose_files_and_shards_give_the_same_waves(tmp_path):
    loose = make_emogator(tmp_path / "loose")
    shards = make_emogator_shards(loose, tmp_path / "shards")
    stores = []
    for root in (loose, shards):
        prepare(read_emogator(root), root, tmp_path / f"out-{root.name}")
        clips = [
            Clip.model_validate_json(line)
            for line in (tmp_path / f"out-{root.name}" / "manifest.jsonl").read_text().splitlines()
        ]
        stores.append(WaveStore.build(root, clips, tmp_path / "cache"))
    assert len(stores[0]) == len(stores[1]) == 3
    for index in range(3):
        np.testing.assert_array_equal(stores[0][index], stores[1][index])
