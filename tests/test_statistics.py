"""Statistics of a set: those of its embeddings, emotion by emotion, however they were gathered and kept."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from clips_fixtures import EMOTIONS, write_entry, write_real, write_tree
from conftest import run_command
from embed_fixtures import Bands, answering
from recogniser_fixtures import SMALL
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from vocalburst.eval import emotion_statistics as module
from vocalburst.eval import listening
from vocalburst.eval.clips import open_clips, overlap
from vocalburst.eval.embed import embed
from vocalburst.eval.emotion_statistics import POOLED, EmotionStatistics, emotion_statistics, read_statistics
from vocalburst.eval.evaluators import load_evaluator
from vocalburst.eval.gaussian import Identity
from vocalburst.gen.data.errors import InputDataError


@pytest.fixture
def clips(tmp_path):
    return open_clips(write_real(tmp_path / "real", 10))


def close(one, other):
    assert list(one) == list(other)
    for emotion, own in one.items():
        assert own.n == other[emotion].n and own.identity == other[emotion].identity
        np.testing.assert_allclose(own.mean, other[emotion].mean, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(own.cov, other[emotion].cov, rtol=1e-9, atol=1e-9)


def test_statistics_are_those_of_the_embeddings(clips, monkeypatch):
    monkeypatch.setattr(listening, "BLOCK", 3)
    (statistics,) = emotion_statistics(clips, [Bands()], cache=None)
    embedded = embed(clips, Bands(), cache=None)
    assert list(statistics.of) == [*EMOTIONS, POOLED]
    for emotion, own in statistics.of.items():
        rows = embedded.embeddings if emotion == POOLED else embedded.embeddings[embedded.of(emotion)]
        assert own.n == len(rows) == {"awe": 4, "fear": 3, "surprise_negative": 3, POOLED: 10}[emotion]
        np.testing.assert_allclose(own.mean, rows.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(own.cov, np.cov(rows, rowvar=False, ddof=1), rtol=1e-9, atol=1e-9)
        assert own.identity == Identity("bands-0123456789ab", "none", "all")


def test_neither_cache_nor_blocks_nor_processes_change_them(clips, tmp_path, monkeypatch):
    (whole,) = emotion_statistics(clips, [Bands()], cache=None)
    embed(clips.take([7, 2, 3]), Bands(), cache=tmp_path / "cache")
    evaluator = Bands()
    (cached,) = emotion_statistics(clips, [evaluator], cache=tmp_path / "cache")
    assert evaluator.heard == 7
    close(cached.of, whole.of)
    monkeypatch.setattr(listening, "BLOCK", 1)
    (single,) = emotion_statistics(clips, [Bands()], cache=None)
    close(single.of, whole.of)
    # Two processes, one after the other: each hears its share, the results of both are added up.
    heard = []

    def one_after_the_other(processes, work):
        results = []
        for rank in (0, 1):
            processes.process_index = rank
            results.append(work())
            heard.append(results[-1][0][POOLED].n)
        return results

    monkeypatch.setattr(module, "exchange", one_after_the_other)
    processes = SimpleNamespace(process_index=0, num_processes=2)
    (both,) = emotion_statistics(clips, [Bands()], cache=None, processes=processes)
    assert heard == [5, 5]
    close(both.of, whole.of)


def test_a_file_gives_back_what_was_written(clips, tmp_path):
    one, two = emotion_statistics(clips, [Bands(), Bands(id="bands-2", preprocessing="level")], cache=None)
    for statistics in (one, two):
        statistics.save(tmp_path / "stats.safetensors")
        back = EmotionStatistics.load(tmp_path / "stats.safetensors")
        assert list(back.of) == list(statistics.of) and back.identity == statistics.identity
        for emotion, own in back.of.items():
            assert own.n == statistics.of[emotion].n
            np.testing.assert_array_equal(own.mean, statistics.of[emotion].mean)
            np.testing.assert_array_equal(own.cov, statistics.of[emotion].cov)
        assert (back.clips.label, back.clips.speakers) == (clips.label, clips.speakers)
        assert back.clips.content_sha256 == clips.content_sha256
    close(read_statistics(tmp_path / "stats.safetensors"), two.of)
    assert two.identity == Identity("bands-2", "level", "all")


def test_a_copy_of_a_reference_clip_is_found_by_its_statistics(clips, tmp_path):
    (statistics,) = emotion_statistics(clips, [Bands()], cache=None)
    statistics.save(tmp_path / "stats.safetensors")
    entry = open_clips(write_entry(tmp_path / "entry", 2))
    pairs = overlap(entry, EmotionStatistics.load(tmp_path / "stats.safetensors").clips)
    assert pairs == [("awe/0.wav", "clip-0"), ("fear/1.wav", "clip-1")]


def test_the_split_is_that_of_the_set(clips, tmp_path):
    parts = {
        "dev": open_clips(tmp_path / "real", "dev").take([0, 3, 1, 4]),
        "none": open_clips(write_tree(tmp_path / "tree", 6)),
    }
    for split, part in parts.items():
        (statistics,) = emotion_statistics(part, [Bands()], cache=None)
        assert statistics.identity.split == split


def test_an_emotion_with_one_clip_is_refused_before_anything_is_heard(tmp_path):
    evaluator = Bands()
    with pytest.raises(InputDataError) as caught:
        emotion_statistics(open_clips(write_tree(tmp_path, 4)), [evaluator], cache=None)
    assert (
        str(caught.value)
        == f"{tmp_path}: a covariance needs at least 2 clips, got 1 of fear, surprise_negative"
    )
    assert evaluator.heard == 0


def test_a_clip_that_cannot_be_heard_leaves_no_statistics(clips):
    with pytest.raises(InputDataError, match="NaN"):
        emotion_statistics(clips, [answering(embeddings=lambda x: x * np.nan)], cache=None)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t, m: m.pop("format"), "expected statistics of the format vocalburst-emotion-statistics-1"),
        (lambda t, m: m.pop("evaluator"), "lacks 'evaluator'"),
        (lambda t, m: t.pop("awe.cov"), "lacks 'awe.cov'"),
        (lambda t, m: t.pop("clips"), "lacks 'clips'"),
        (lambda t, m: m.update({"awe.n": "1"}), "a covariance needs at least 2 clips, got 1"),
        (lambda t, m: m.update({"awe.n": "40"}), "its statistics are not those of the clips"),
        (lambda t, m: m.update({"awe.n": "some"}), "invalid literal"),
        (lambda t, m: m.pop("awe.n"), "its statistics are not those of the clips"),
        (lambda t, m: t.update({"awe.mean": t["awe.mean"] * np.nan}), "expected finite statistics"),
        (
            lambda t, m: t.update({"awe.cov": t["awe.cov"] + np.triu(np.ones((5, 5)), 1)}),
            "symmetric covariance",
        ),
        (lambda t, m: t.update(clips=np.frombuffer(b"{}", np.uint8)), "stats.safetensors: "),
    ],
)
def test_a_damaged_file_is_one_sentence_that_names_it(clips, tmp_path, change, sentence):
    path = tmp_path / "stats.safetensors"
    (statistics,) = emotion_statistics(clips, [Bands()], cache=None)
    statistics.save(path)
    tensors, metadata = load_file(path), read_metadata(path)
    change(tensors, metadata)
    save_file(tensors, path, metadata)
    with pytest.raises(InputDataError) as caught:
        EmotionStatistics.load(path)
    assert str(caught.value).startswith(f"{path}: ") and sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def read_metadata(path):
    with safe_open(path, framework="numpy") as file:
        return file.metadata()


def test_a_cut_or_missing_file_names_itself(clips, tmp_path):
    path = tmp_path / "stats.safetensors"
    with pytest.raises(InputDataError, match=r"stats\.safetensors: cannot be read as statistics"):
        EmotionStatistics.load(path)
    (statistics,) = emotion_statistics(clips, [Bands()], cache=None)
    statistics.save(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputDataError, match=r"stats\.safetensors: cannot be read as statistics"):
        EmotionStatistics.load(path)


def test_the_file_of_an_evaluator_among_several(tmp_path):
    out = tmp_path / "stats.safetensors"
    assert module.statistics_path(out, "bands-2") == out
    (tmp_path / "stats-bands-2.safetensors").touch()
    assert module.statistics_path(out, "bands-2") == tmp_path / "stats-bands-2.safetensors"
    assert module.statistics_path(out, "bands-3") == out


def test_what_is_printed_of_a_file(clips):
    (statistics,) = emotion_statistics(clips, [Bands()], cache=None)
    assert module.summary(statistics) == (
        "10 clips, 3 emotions of 3 to 4 clips, split all, evaluator bands-0123456789ab"
    )
    assert module.unreliable(statistics) == (
        "3 of 4 covariances are singular, with no more clips than the 5 dimensions of bands-0123456789ab: a "
        "Fréchet distance to them is biased upwards (awe, fear, surprise_negative)"
    )
    many = {name: replace(own, n=50) for name, own in statistics.of.items()}
    assert module.unreliable(EmotionStatistics(clips, many)) is None


def test_two_processes_write_the_file_of_one(tmp_path):
    """`accelerate launch` with two processes; `--cpu` would start a single one."""
    model, manifest = tmp_path / "model", write_real(tmp_path / "real", 9)
    SMALL["emo18"]().save(model, "", {})
    ours = (
        "vocalburst.eval.emotion_statistics",
        manifest,
        "--evaluator",
        model,
        "--cache",
        tmp_path / "cache",
    )
    launch = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
    launch += ("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m")
    ended = run_command(*launch, *ours, "--out", tmp_path / "two.safetensors")
    assert ended.returncode == 0, ended.stderr[-3000:]
    evaluator = load_evaluator(model)
    assert ended.stdout == (
        f"{tmp_path / 'two.safetensors'}\n9 clips, 3 emotions of 3 clips, split all, evaluator {evaluator.id}\n"
    )
    assert ended.stderr.count("note: 4 of 4 covariances are singular") == 1
    assert len(list((tmp_path / "cache").glob("*/*"))) == 2  # each process kept its own share
    (one,) = emotion_statistics(open_clips(manifest), [evaluator], cache=None)
    two = EmotionStatistics.load(tmp_path / "two.safetensors")
    assert two.clips.content_sha256 == one.clips.content_sha256
    for emotion, own in one.of.items():
        assert two.of[emotion].n == own.n and two.of[emotion].identity == own.identity
        np.testing.assert_allclose(two.of[emotion].mean, own.mean, rtol=0, atol=1e-9)
        np.testing.assert_allclose(two.of[emotion].cov, own.cov, rtol=0, atol=1e-9)


def test_the_command_refuses_an_emotion_with_one_clip(tmp_path, monkeypatch, capsys):
    SMALL["logmel"]().save(tmp_path / "model", "", {})
    write_tree(tmp_path / "clips", 4)
    words = [tmp_path / "clips", "--evaluator", tmp_path / "model", "--out", tmp_path / "out.safetensors"]
    monkeypatch.setattr(sys, "argv", ["statistics", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 3 and not (tmp_path / "out.safetensors").exists()
    assert "needs at least 2 clips, got 1 of fear, surprise_negative" in capsys.readouterr().err
