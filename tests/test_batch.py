"""Running jobs: journal, resume, kills, sharing among workers and ranks, memory."""

import csv
import errno
import hashlib
import json
import multiprocessing
import os
import random
import signal
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from batch_fixtures import (
    contents,
    fixed_time,
    load_dying,
    load_fake,
    load_refusing,
    request_jobs,
    run_all,
    shared,
    whole,
)

from vocalburst.gen import batch, journal
from vocalburst.gen.data.audio import read_wave, write_file
from vocalburst.gen.data.errors import InputDataError, MissingModelError
from vocalburst.gen.generated import GeneratedClip, read_generated
from vocalburst.gen.jobs import RepeatedJobs
from vocalburst.gen.workers import Workers

__all__ = ["fixed_time", "whole"]  # fixtures


@pytest.mark.parametrize(
    "sharing",
    [{"batch_size": 5}, {"world": 3}, {"world": 2, "count": 2, "batch_size": 2}],
    ids=str,
)
def test_sharing_changes_no_byte(tmp_path, whole, sharing):
    pipelines = run_all(tmp_path / "shared", request_jobs(6, "awe", "fear"), **sharing)
    assert contents(tmp_path / "shared") == whole
    assert all(pipeline.largest_call <= sharing.get("batch_size", 1) for pipeline in pipelines)


def test_manifest_says_what_is_on_disk(tmp_path):
    jobs = request_jobs(2, "awe:0.5,awkwardness", voice=3, duration=0.7, file_format="flac", trim=True)
    run_all(tmp_path, jobs, save_mel=True)
    rows = list(read_generated(tmp_path / "manifest.jsonl"))
    assert [row.file_name for row in rows] == [job.file_name for job in jobs]
    for row, job in zip(rows, jobs, strict=True):
        data = (tmp_path / row.file_name).read_bytes()
        assert row.sha256 == hashlib.sha256(data).hexdigest()
        assert row.seconds == pytest.approx(len(read_wave(data)) / row.sample_rate, abs=1e-4)
        assert (row.voice, row.voice_asked, row.duration_asked, row.seed) == (3, 3, 0.7, job.seed)
        assert row.emotion == "awe+awkwardness"
        assert row.emotion_vector == {"awe": 0.5, "embarrassment": 1.0}
        assert row.aliases == ("awkwardness -> embarrassment",)
        assert row.synthetic is True and row.created_utc == "2023-11-14T22:13:20Z"
        mel = np.load(tmp_path / row.mel_file_name)
        assert mel.shape == (100, 4) and mel.dtype == np.float32
    with (tmp_path / "metadata.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == list(GeneratedClip.model_fields) and next(iter(table[0])) == "file_name"
    assert [line["sha256"] for line in table] == [row.sha256 for row in rows]
    assert json.loads(table[0]["emotion_vector"]) == rows[0].emotion_vector
    assert sorted(path.suffix for path in tmp_path.iterdir()) == sorted(
        [".csv", ".flac", ".flac", ".json", ".jsonl", ".npy", ".npy"]
    )


def test_a_finished_run_is_verified_and_not_made_again(tmp_path, whole):
    jobs = request_jobs(6, "awe", "fear")
    (first,) = run_all(tmp_path / "run", jobs)
    (second,) = run_all(tmp_path / "run", jobs)
    assert (first.made, second.made) == (12, 0)
    assert contents(tmp_path / "run") == whole


def test_missing_and_damaged_clips_are_made_again(tmp_path, whole):
    jobs = request_jobs(6, "awe", "fear")
    run_all(tmp_path / "run", jobs)
    (tmp_path / "run" / "awe" / "awe_0_00002.wav").unlink()
    damaged = tmp_path / "run" / "fear" / "fear_0_00000.wav"
    damaged.write_bytes(damaged.read_bytes()[:-2] + b"!!")
    (again,) = run_all(tmp_path / "run", jobs)
    assert again.made == 2
    assert contents(tmp_path / "run") == whole


def test_a_damaged_spectrogram_is_made_again(tmp_path):
    jobs = request_jobs(3)
    run_all(tmp_path / "run", jobs, save_mel=True)
    before = contents(tmp_path / "run")
    (tmp_path / "run" / "awe_0_00001.npy").write_bytes(b"")
    (again,) = run_all(tmp_path / "run", jobs, save_mel=True)
    assert again.made == 1 and contents(tmp_path / "run") == before


def test_a_kill_at_any_moment_and_a_rerun_give_the_same_bytes(tmp_path, whole):
    jobs = request_jobs(6, "awe", "fear")
    folder = tmp_path / "run"
    rng = random.Random(0)
    kills = 0
    for _ in range(40):
        process = multiprocessing.get_context("fork").Process(target=run_all, args=(folder, jobs))
        process.start()
        process.join(rng.uniform(0.0, 0.04))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
        if process.exitcode == 0:
            break
    assert kills > 0
    run_all(folder, jobs)
    assert contents(folder) == whole


def test_a_line_that_was_cut_short_loses_one_clip_only(tmp_path, whole):
    jobs = request_jobs(6, "awe", "fear")
    folder = tmp_path / "run"
    run_all(folder, jobs)
    rows = [row.to_json() for row in read_generated(folder / "manifest.jsonl")]
    lines = "".join(f'{{"position": {i}, "clip": {row}}}\n' for i, row in enumerate(rows[:5]))
    (folder / "manifest.jsonl").unlink()
    (folder / "manifest.part-0000-0000.jsonl").write_text(lines[:-40])
    (again,) = run_all(folder, jobs)
    assert again.made == 12 - 4
    assert contents(folder) == whole


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path, whole, monkeypatch):
    jobs = request_jobs(6, "awe", "fear")
    written = []

    def write_until_full(path, data):
        if len(written) == 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        write_file(path, data)

    monkeypatch.setattr(batch, "write_file", write_until_full)
    with pytest.raises(OSError, match="No space left"):
        run_all(tmp_path / "run", jobs)
    monkeypatch.undo()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert not (tmp_path / "run" / "manifest.jsonl").exists()
    (again,) = run_all(tmp_path / "run", jobs)
    assert again.made == 12 - 7
    assert contents(tmp_path / "run") == whole


@pytest.mark.parametrize("change", [{"run_seed": 1}, {"n": 4}, {"trim": True}, {"guidance": 3.0}], ids=str)
def test_a_folder_with_another_run_is_refused(tmp_path, change):
    run_all(tmp_path, request_jobs(3))
    before = contents(tmp_path)
    with pytest.raises(InputDataError, match=r"holds another run \(\w+ .* there, .* here\)"):
        run_all(tmp_path, request_jobs(3, **change))
    with pytest.raises(InputDataError, match=r"holds another run \(checkpoint"):
        run_all(tmp_path, request_jobs(3), checkpoint="cd" * 32)
    assert contents(tmp_path) == before


def test_a_folder_with_a_foreign_manifest_is_refused_even_to_overwrite(tmp_path):
    (tmp_path / "manifest.jsonl").write_text('{"id": "1", "path": "a.wav"}\n')
    before = contents(tmp_path)
    with pytest.raises(InputDataError, match="that is not of this run"):
        run_all(tmp_path, request_jobs(1))
    with pytest.raises(InputDataError, match="line 1: not a clip made by generate"):
        run_all(tmp_path, request_jobs(1), overwrite=True)
    assert contents(tmp_path) == before


def test_overwrite_removes_the_old_run_and_nothing_else(tmp_path):
    run_all(tmp_path / "run", request_jobs(5), save_mel=True)
    (tmp_path / "run" / "notes.txt").write_text("mine")
    run_all(tmp_path / "run", request_jobs(2, run_seed=1), overwrite=True)
    (tmp_path / "run" / "notes.txt").unlink()
    run_all(tmp_path / "fresh", request_jobs(2, run_seed=1))
    assert contents(tmp_path / "run") == contents(tmp_path / "fresh")


def test_a_manifest_can_be_made_again_from_what_it_says(tmp_path):
    run_all(tmp_path / "run", request_jobs(4, "awe", "fear", file_format="ogg", voice=2))
    again = RepeatedJobs(tmp_path / "run" / "manifest.jsonl")
    assert len(again) == 8
    run_all(tmp_path / "again", again)
    ours, theirs = contents(tmp_path / "again"), contents(tmp_path / "run")
    assert ours.pop("run.json") != theirs.pop("run.json")
    assert ours == theirs


def test_a_run_with_a_missing_share_is_not_called_finished(tmp_path):
    jobs = request_jobs(4)
    run = shared(tmp_path)
    run = replace(run, created_utc=journal.claim(tmp_path, {**jobs.settings(), **run.settings()}))
    journal.verify(tmp_path)
    workers = Workers(load_fake)
    workers.run(load_fake(), jobs, run, rank=1, world=2)
    with pytest.raises(OSError, match="clip 0 is in no part file"):
        journal.finish(tmp_path, len(jobs))
    assert not (tmp_path / "manifest.jsonl").exists() and not (tmp_path / "metadata.csv").exists()


def test_what_a_worker_raises_is_raised(tmp_path):
    with pytest.raises(MissingModelError, match="is cut short"):
        run_all(tmp_path, request_jobs(1000), load=load_refusing, pause=0.1, count=2)


def test_a_worker_that_dies_is_noticed(tmp_path):
    with pytest.raises(OSError, match=r"worker process 1 ended without a word \(exit status 9\)"):
        run_all(tmp_path, request_jobs(1000), load=load_dying, pause=0.1, count=2)


def test_two_workers_share_the_clips_and_progress_is_told_of_all(tmp_path):
    jobs = request_jobs(30)
    run = shared(tmp_path)
    run = replace(run, created_utc=journal.claim(tmp_path, {**jobs.settings(), **run.settings()}))
    journal.verify(tmp_path)
    workers = Workers(load_fake)
    workers.start(2)
    told = []
    try:
        workers.run(load_fake(0.5), jobs, run, made=lambda: told.append(1))
    finally:
        workers.close()
    assert len(told) == 30
    parts = [path.read_text().count("\n") for path in tmp_path.glob("manifest.part-*.jsonl")]
    assert len(parts) == 2 and sum(parts) == 30 and min(parts) > 0
    journal.finish(tmp_path, len(jobs))
    before = contents(tmp_path)
    (alone,) = run_all(tmp_path, jobs, overwrite=True)
    assert alone.made == 30 and contents(tmp_path) == before


def test_memory_does_not_grow_with_n(tmp_path):
    def peak(n: int) -> int:
        tracemalloc.start()
        run_all(tmp_path / str(n), request_jobs(n))
        value = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return value

    peak(10)  # caches of the libraries
    few = peak(40)
    assert peak(300) < 1.1 * few + 50_000
