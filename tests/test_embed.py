"""Embedding a set: the numbers of each clip alone, from any cache, or an error."""

import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clips_fixtures import EMOTIONS, record, write_real
from conftest import synthetic_burst
from embed_fixtures import Bands, answering, clips, same

from vocalburst.eval import listening
from vocalburst.eval.clips import ClipSet, Source, open_clips
from vocalburst.eval.embed import EmbeddedClips, embed, embed_each
from vocalburst.eval.listening_session import evaluator_paths
from vocalburst.gen.data.audio import encode_wave, read_wave
from vocalburst.gen.data.errors import InputDataError, MissingModelError
from vocalburst.gen.data.manifest import write_manifest

__all__ = ["clips"]  # a fixture


def test_each_row_is_what_is_heard_of_that_clip_alone(clips, tmp_path):
    evaluator = Bands()
    embedded = embed(clips, evaluator, cache=None)
    assert len(embedded) == 6 and embedded.embeddings.dtype == embedded.probabilities.dtype == np.float64
    for index, name in enumerate(clips.names):
        alone = evaluator.listen([read_wave(tmp_path / "clips" / name)])
        np.testing.assert_array_equal(embedded.embeddings[index], alone.embeddings[0])
        np.testing.assert_array_equal(embedded.probabilities[index], alone.probabilities[0])
    assert (embedded.evaluator, embedded.preprocessing, embedded.emotions) == (evaluator.id, "none", EMOTIONS)
    fear = embedded.take(embedded.of("fear"))
    assert set(fear.clips.emotions) == {"fear"} and len(fear) == 2
    np.testing.assert_array_equal(fear.embeddings, embedded.embeddings[[2, 3]])
    np.testing.assert_array_equal(fear.probabilities, embedded.probabilities[[2, 3]])


def test_an_evaluator_without_a_recogniser_has_no_probabilities(clips, tmp_path):
    for _ in range(2):
        embedded = embed(clips, Bands(emotions=None), cache=tmp_path / "cache")
        assert embedded.probabilities is None and embedded.emotions is None
        assert embedded.take([1]).probabilities is None
    same_numbers = embed(clips, Bands(), cache=tmp_path / "cache").embeddings
    np.testing.assert_array_equal(embedded.embeddings, same_numbers)


def test_sets_that_share_clips_share_the_work(clips, tmp_path):
    cache, evaluator = tmp_path / "cache", Bands()
    whole = embed(clips, Bands(), cache=None)
    same(embed(clips.take([4, 0, 2]), evaluator, cache=cache), whole.take([4, 0, 2]))
    assert evaluator.heard == 3
    same(embed(clips, evaluator, cache=cache), whole)
    assert evaluator.heard == 6
    # The same sounds in another folder under other names are the same clips.
    same(embed(open_clips(write_real(tmp_path / "real")), evaluator, cache=cache), embed_real(tmp_path))
    assert evaluator.heard == 6


def embed_real(tmp_path):
    return embed(open_clips(tmp_path / "real"), Bands(), cache=None)


@pytest.mark.parametrize(
    "changes", [{"id": "bands-ba9876543210"}, {"preprocessing": "level"}, {"emotions": EMOTIONS[::-1]}]
)
def test_another_evaluator_never_meets_what_was_kept(clips, tmp_path, changes):
    embed(clips, Bands(), cache=tmp_path)
    other = Bands(**changes)
    embed(clips, other, cache=tmp_path)
    assert other.heard == 6


def test_a_sound_that_is_there_twice_is_heard_once(tmp_path):
    (tmp_path / "0.wav").write_bytes(encode_wave(synthetic_burst(0)))
    records = [record(0, {"awe": 1.0, "fear": 1.0}), record(1, {"awe": 1.0}, "0.wav")]
    write_manifest(tmp_path / "manifest.jsonl", records)
    for _ in range(2):
        evaluator = Bands()
        embedded = embed(open_clips(tmp_path), evaluator, cache=tmp_path / "cache")
        assert len(embedded) == 3 and (embedded.embeddings == embedded.embeddings[0]).all()
    assert evaluator.heard == 0


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def empty(path):
    path.write_bytes(b"")


def of_another_evaluator(path):
    other = path.parent.parent / "other"
    clips = open_clips(path.parent.parent.parent / "clips")
    embed(clips, Bands(id="bands-ba9876543210"), cache=other)
    path.write_bytes(next(other.glob("*/*")).read_bytes())


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, empty, of_another_evaluator])
def test_a_damaged_cache_is_told_and_costs_time_but_no_numbers(clips, tmp_path, capsys, damage):
    whole = embed(clips, Bands(), cache=tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*/*")
    damage(path)
    evaluator = Bands()
    same(embed(clips, evaluator, cache=tmp_path / "cache"), whole)
    assert evaluator.heard == 6
    told = capsys.readouterr().err
    assert told.startswith(f"note: {path} is damaged (") and told.count("\n") == 1
    same(embed(clips, evaluator, cache=tmp_path / "cache"), whole)
    assert evaluator.heard == 6 and capsys.readouterr().err == ""


def test_several_writers_at_once_leave_a_whole_cache(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(listening, "BLOCK", 2)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(embed(clips, Bands(), cache=tmp_path / "cache")))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    later = Bands()
    results.append(embed(clips, later, cache=tmp_path / "cache"))
    assert len(results) == 7 and later.heard == 0
    for result in results:
        same(result, results[0])
    assert not list((tmp_path / "cache").glob("*/.*"))


def test_what_was_heard_before_a_bad_clip_is_kept(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(listening, "BLOCK", 1)
    monkeypatch.setattr(listening, "threads_here", lambda: 1)
    (tmp_path / "clips" / clips.names[-1]).write_bytes(encode_wave(np.zeros(4800, np.float32)))
    clips = open_clips(tmp_path / "clips")
    with pytest.raises(InputDataError, match="is digital silence"):
        embed(clips, Bands(), cache=tmp_path / "cache")
    evaluator = Bands()
    embed(clips.take([0, 1]), evaluator, cache=tmp_path / "cache")
    assert evaluator.heard == 0


@pytest.mark.parametrize(
    ("evaluator", "error", "sentence"),
    [
        (answering(embeddings=lambda x: x * np.nan), InputDataError,
         "awe/0.wav: 5 of 5 numbers of bands-0123456789ab are NaN or infinite"),
        (answering(embeddings=lambda x: np.where(np.arange(5) == 2, np.inf, x)), InputDataError,
         "awe/0.wav: 1 of 5 numbers of bands-0123456789ab are NaN or infinite"),
        (answering(probabilities=lambda x: x + 0.9), InputDataError,
         "awe/0.wav: expected probabilities from 0 to 1 of bands-0123456789ab, got others"),
        (answering(probabilities=lambda x: x * np.nan), InputDataError, "from 0 to 1"),
        (answering(embeddings=lambda x: x[:, :3]), ValueError, "expected embeddings [1, 5], got (1, 3)"),
        (answering(probabilities=lambda x: x[:, :2]), ValueError, "expected probabilities (1, 3), got (1, 2)"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_an_error_that_names_the_clip(clips, tmp_path, evaluator, error, sentence):
    with pytest.raises(error) as caught:
        embed(clips, evaluator, cache=tmp_path / "cache")
    assert sentence in str(caught.value)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("kind", [InputDataError, MissingModelError])
def test_a_refusal_of_the_evaluator_names_the_clip(clips, kind):
    class Refusing(Bands):
        def listen(self, waves):
            raise kind("too short")

    with pytest.raises(kind, match=r"^awe/0\.wav: too short$") as caught:
        embed(clips, Refusing(), cache=None)
    assert type(caught.value) is kind


def test_a_clip_is_decoded_once_for_all_evaluators(clips, tmp_path, monkeypatch):
    counts = []
    monkeypatch.setattr(ClipSet, "waves", counting(ClipSet.waves, counts))
    evaluators = [Bands(), Bands(id="bands-2", preprocessing="level")]
    embed(clips.take([0, 1]), evaluators[1], cache=tmp_path)
    counts.clear()
    first, second = embed_each(clips, evaluators, cache=tmp_path)
    assert len(counts) == 6 and [e.heard for e in evaluators] == [6, 6]
    assert (first.evaluator, second.evaluator) == (evaluators[0].id, "bands-2")
    same(first, second)


def counting(waves, counts):
    def counted(self):
        for item in waves(self):
            counts.append(item[0])
            yield item

    return counted


def test_a_network_has_one_thread_while_clips_are_heard(clips):
    """Sums split over threads would come in another order with another number of processes."""
    threads = []

    class Watching(Bands):
        def listen(self, waves):
            threads.append(torch.get_num_threads())
            return super().listen(waves)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        embed(clips, Watching(), cache=None)
        assert torch.get_num_threads() == 2 and threads == [1] * 6
        with pytest.raises(InputDataError):
            embed(clips, answering(embeddings=lambda x: x * np.nan), cache=None)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_memory_holds_a_few_waves_whatever_n(monkeypatch):
    """At no time are more waves alive than may wait for the threads, those being heard and the one just read."""
    n, given, most = 120, [], 0

    class Wave(np.ndarray):  # a plain array cannot be watched
        pass

    def waves(self):
        nonlocal most
        for index in range(len(self)):
            wave = np.random.default_rng(index).standard_normal(400).astype(np.float32).view(Wave)
            given.append(weakref.ref(wave))
            most = max(most, sum(reference() is not None for reference in given))
            yield index, wave

    monkeypatch.setattr(ClipSet, "waves", waves)
    monkeypatch.setattr(listening, "threads_here", lambda: 2)
    names = tuple(f"{i}.wav" for i in range(n))
    sources = tuple(Source(name, f"{i:064x}") for i, name in enumerate(names))
    clips = ClipSet("many", names, ("awe",) * n, (None,) * n, sources, None)
    assert np.isfinite(embed(clips, Bands(), cache=None).embeddings).all()
    assert 2 <= most <= 2 * listening.AHEAD + 4


def test_saved_and_loaded(clips, tmp_path):
    clips = replace(
        clips, speakers=("a", None) * 3, selected_by=("x",), settings={"steps": "8"}, checkpoint="c"
    )
    embedded = embed(clips, Bands(), cache=None)
    for kept in (embedded, replace(embedded, probabilities=None, emotions=None)):
        kept.save(tmp_path / "out.safetensors")
        back = EmbeddedClips.load(tmp_path / "out.safetensors")
        np.testing.assert_array_equal(back.embeddings, kept.embeddings)
        if kept.probabilities is None:
            assert back.probabilities is None
        else:
            np.testing.assert_array_equal(back.probabilities, kept.probabilities)
        assert (back.evaluator, back.preprocessing, back.emotions) == (Bands.id, "none", kept.emotions)
        assert back.clips.keys == clips.keys and back.clips.content_sha256 == clips.content_sha256
        for name in (
            "label",
            "names",
            "emotions",
            "speakers",
            "selected_by",
            "settings",
            "checkpoint",
            "split",
        ):
            assert getattr(back.clips, name) == getattr(clips, name)
    with pytest.raises(InputDataError, match="does not hold their sound"):
        next(back.clips.waves())
    for data, sentence in (
        (b"nonsense", "cannot be read as embedded clips"),
        (None, "expected embedded clips of"),
    ):
        path = tmp_path / "out.safetensors"
        if data is None:
            embed(clips, Bands(), cache=tmp_path / "cache")
            path = next((tmp_path / "cache").glob("*/*"))
        else:
            path.write_bytes(data)
        with pytest.raises(InputDataError, match=sentence):
            EmbeddedClips.load(path)


def test_files_of_several_evaluators_are_named_by_their_ids():
    one, two = Bands(), Bands(id="bands-2")
    assert evaluator_paths(Path("a/b.safetensors"), [one]) == [Path("a/b.safetensors")]
    names = [str(path) for path in evaluator_paths(Path("a/b.safetensors"), [one, two])]
    assert names == ["a/b-bands-0123456789ab.safetensors", "a/b-bands-2.safetensors"]
