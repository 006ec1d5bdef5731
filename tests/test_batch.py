"""Jobs, journal, resume and sharing, with a fake pipeline whose sound is noise of the clip's seed."""

import csv
import errno
import hashlib
import json
import multiprocessing
import os
import random
import signal
import time
import tracemalloc
from collections import namedtuple
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest

from vocalburst.gen import batch, journal
from vocalburst.gen.batch import Run, pending
from vocalburst.gen.data.audio import read_wave, write_file
from vocalburst.gen.data.emotions import parse_request
from vocalburst.gen.data.errors import InputDataError, MissingModelError
from vocalburst.gen.generated import GeneratedClip, read_generated
from vocalburst.gen.jobs import RepeatedJobs, RequestedJobs
from vocalburst.gen.workers import Workers

EMOTIONS = ("awe", "fear", "embarrassment")
Burst = namedtuple("Burst", "wave mel voice duration seed stretch")


class FakePipeline:
    """Counts what it is asked for; `pause` seconds a clip."""

    def __init__(self, pause: float = 0.0):
        self.pause = pause
        self.made = 0
        self.largest_call = 0

    def synthesise(self, specs):
        self.largest_call = max(self.largest_call, len(specs))
        return [self.burst(spec) for spec in specs]

    def burst(self, spec) -> Burst:
        time.sleep(self.pause)
        self.made += 1
        rng = np.random.default_rng(spec.seed)
        wave = rng.uniform(-1, 1, int(rng.integers(500, 1500))).astype(np.float32)
        voice = int(rng.integers(9)) if spec.voice is None else spec.voice
        mel = rng.normal(size=(100, 4)).astype(np.float32)
        stretch = None if spec.duration is None else 1.0
        return Burst(wave, mel, voice, spec.duration or 1.0, spec.seed, stretch)


def load_fake(pause: float = 0.0) -> FakePipeline:
    return FakePipeline(pause)


def load_refusing():
    raise MissingModelError("checkpoint/model.safetensors: is cut short")


def load_dying():
    os._exit(9)


def request_jobs(n: int, /, *emotions: str, **changes) -> RequestedJobs:
    jobs = RequestedJobs(
        requests=tuple(parse_request(name, EMOTIONS) for name in emotions or ("awe",)),
        n=n,
        intensity=1.0,
        run_seed=0,
        steps=2,
        guidance=1.5,
        scheduler="euler",
        voice=None,
        duration=None,
        file_format="wav",
        raw=False,
        trim=False,
        folders=len(emotions) > 1,
    )
    return replace(jobs, **changes)


def shared(folder: Path, **changes) -> Run:
    run = Run(folder, "ab" * 32, "CC-BY-4.0", "checkpoint", "cpu", "0.1.0", "2.11.0", save_mel=False)
    return replace(run, **changes)


def run_all(
    folder, jobs, *, load=load_fake, pause=0.0, count=1, world=1, batch_size=1, overwrite=False, **changes
):
    """What the command does, with the ranks one after the other. Returns the pipelines of the ranks."""
    run = shared(folder, **changes)
    settings = {**jobs.settings(), **run.settings()}
    run = replace(run, created_utc=journal.claim(folder, settings, overwrite=overwrite))
    journal.verify(folder)
    pipelines = []
    for rank in range(world):
        workers = Workers(load, count)
        try:
            pipelines.append(load_fake(pause))
            workers.run(pipelines[-1], jobs, run, rank=rank, world=world, batch_size=batch_size)
        finally:
            workers.close()
    journal.finish(folder, len(jobs))
    return pipelines


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file under a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(autouse=True)
def fixed_time(monkeypatch):
    """So that whole folders can be compared, manifest included."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture
def whole(tmp_path) -> dict[str, str]:
    """The folder of an undisturbed run of 12 clips."""
    run_all(tmp_path / "whole", request_jobs(6, "awe", "fear"))
    return contents(tmp_path / "whole")


def test_a_clip_depends_neither_on_n_nor_on_the_other_emotions():
    few, many = request_jobs(3, "fear"), request_jobs(50, "awe", "fear", folders=False)
    in_many = {(job.emotion, job.index): job for job in many}
    for job in few:
        assert replace(job, position=0) == replace(in_many["fear", job.index], position=0)


def test_a_million_jobs_cost_nothing_until_they_are_taken():
    tracemalloc.start()
    jobs = request_jobs(10**6, "awe", "fear")
    first = list(islice(jobs, 3))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(jobs) == 2 * 10**6 and [job.position for job in first] == [0, 1, 2]
    assert peak < 100_000


@pytest.mark.parametrize(("world", "count"), [(1, 1), (1, 4), (3, 1), (2, 3)])
def test_every_unfinished_job_is_taken_once_and_in_rising_order(world, count):
    jobs = request_jobs(40, "awe", "fear")
    rng = random.Random(world * 10 + count)
    done = bytearray(rng.randrange(2) for _ in range(80))
    taken = []
    for rank in range(world):
        numbers = iter(range(1000))
        drawers = [
            pending(jobs, done, lambda rank=rank, numbers=numbers: next(numbers) * world + rank)
            for _ in range(count)
        ]
        own: list[list[int]] = [[] for _ in drawers]
        while drawers:
            place = rng.randrange(len(drawers))
            job = next(drawers[place], None)
            if job is None:
                del drawers[place]
                taken.append(own.pop(place))
            else:
                own[place].append(job.position)
    assert all(positions == sorted(positions) for positions in taken)
    assert sorted(chain(*taken)) == [position for position in range(80) if not done[position]]


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


@pytest.mark.parametrize("name", ["../x.wav", "/x.wav", "a/../../x.wav", "a\\x.wav", "C:x.wav"])
def test_a_manifest_whose_files_leave_the_folder_is_refused(tmp_path, name):
    run_all(tmp_path, request_jobs(1))
    row = json.loads((tmp_path / "manifest.jsonl").read_text())
    (tmp_path / "bad.jsonl").write_text(json.dumps({**row, "file_name": name}) + "\n")
    with pytest.raises(InputDataError, match=r"line 1.*leaves the folder"):
        RepeatedJobs(tmp_path / "bad.jsonl")


def test_a_run_with_a_missing_share_is_not_called_finished(tmp_path):
    jobs = request_jobs(4)
    run = shared(tmp_path)
    run = replace(run, created_utc=journal.claim(tmp_path, {**jobs.settings(), **run.settings()}))
    journal.verify(tmp_path)
    workers = Workers(load_fake, 1)
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
    workers = Workers(load_fake, 2)
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
