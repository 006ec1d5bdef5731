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
import soundfile
from conftest import synthetic_burst

from vocalburst.gen import batch, journal
from vocalburst.gen.batch import Run, pending
from vocalburst.gen.data.audio import encode_wave, read_wave, write_file
from vocalburst.gen.data.emotions import parse_request
from vocalburst.gen.data.errors import InputDataError, MissingModelError
from vocalburst.gen.generated import GeneratedClip, read_generated
from vocalburst.gen.jobs import RepeatedJobs, RequestedJobs
from vocalburst.gen.sweep import EmotionSweep, IntensitySweep
from vocalburst.gen.variation import open_variations
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
        workers = Workers(load)
        workers.start(count)
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


def test_sweeps_share_their_seed_and_differ_in_the_vector(tmp_path):
    start, end = (parse_request(name, EMOTIONS) for name in ("awe", "fear"))
    sweep = EmotionSweep(start, end, 1.0, 3)
    jobs = list(replace(request_jobs(2), requests=(sweep.request,), sweep=sweep))
    assert [job.file_name for job in jobs] == [
        f"awe+fear_0_{index:05d}_p{number:02d}.wav" for index in range(2) for number in range(3)
    ]
    assert [job.position for job in jobs] == list(range(6))
    assert len({job.seed for job in jobs[:3]}) == 1 and len({job.seed for job in jobs}) == 2
    assert [job.vector for job in jobs[:3]] == [{"awe": 1.0}, {"awe": 0.5, "fear": 0.5}, {"fear": 1.0}]
    assert [job.sweep_position for job in jobs[:3]] == [0.0, 0.5, 1.0]
    assert {tuple(job.prior_vector.items()) for job in jobs} == {(("awe", 0.5), ("fear", 0.5))}


def test_a_sweep_of_intensities_is_made_of_the_clips_of_single_runs():
    swept = list(request_jobs(2, "awe", "fear", sweep=IntensitySweep(0.2, 1.0, 5)))
    assert len(swept) == 20
    for job in swept:
        (single,) = [
            alone
            for alone in request_jobs(2, "awe", "fear", intensity=job.intensity)
            if (alone.emotion, alone.index) == (job.emotion, job.index)
        ]
        assert (job.seed, job.intensity) == (single.seed, single.intensity)
        assert job.vector == {job.emotion: job.intensity}


@pytest.fixture
def two_clips(tmp_path):
    for seed in (0, 1):
        (tmp_path / f"clip {seed}.wav").write_bytes(encode_wave(synthetic_burst(seed)))
    return [tmp_path / "clip 0.wav", tmp_path / "clip 1.wav"]


def varied_jobs(clips, strength=0.5, **changes) -> RequestedJobs:
    return request_jobs(2, "awe", "fear", variations=open_variations(clips, strength, (0.2, 2.0)), **changes)


def test_every_emotion_varies_every_clip_under_its_own_noise(two_clips):
    jobs = list(varied_jobs(two_clips))
    assert [job.file_name for job in jobs[:3]] == [
        "awe/awe_0_00000_clip_0.wav", "awe/awe_0_00000_clip_1.wav", "awe/awe_0_00001_clip_0.wav",
    ]  # fmt: skip
    assert len(jobs) == len({job.seed for job in jobs}) == 8
    weaker = list(varied_jobs(two_clips, 0.25))
    assert [job.seed for job in weaker] == [job.seed for job in jobs]  # only the strength changes
    assert jobs[0].sampling != weaker[0].sampling
    (alone,) = [job for job in varied_jobs(two_clips[1:]) if job.file_name == jobs[1].file_name]
    assert alone.seed == jobs[1].seed


@pytest.mark.parametrize("kind", ["sweep", "like", "best"])
def test_a_manifest_of_every_kind_can_be_made_again(tmp_path, two_clips, kind):
    start, end = (parse_request(name, EMOTIONS) for name in ("awe", "fear"))
    sweep = EmotionSweep(start, end, 1.0, 3)
    jobs = {
        "sweep": replace(request_jobs(2), requests=(sweep.request,), sweep=sweep),
        "like": varied_jobs(two_clips),
        "best": request_jobs(3, best_of=4, selected_by=("fake-1",)),
    }[kind]  # fmt: skip
    run_all(tmp_path / "run", jobs)
    rows = list(read_generated(tmp_path / "run" / "manifest.jsonl"))
    if kind == "like":
        digest = hashlib.sha256(two_clips[0].read_bytes()).hexdigest()
        assert (rows[0].like, rows[0].like_sha256, rows[0].strength) == (str(two_clips[0]), digest, 0.5)
        with soundfile.SoundFile(tmp_path / "run" / rows[0].file_name) as file:
            assert f"; like={digest}; strength=0.5" in file.comment
    if kind == "best":
        assert {(row.best_of, row.selected_by) for row in rows} == {(4, ("fake-1",))}
        with soundfile.SoundFile(tmp_path / "run" / rows[0].file_name) as file:
            assert file.comment.endswith("; best_of=4; selected_by=fake-1")
    run_all(tmp_path / "again", RepeatedJobs(tmp_path / "run" / "manifest.jsonl"))
    ours, theirs = contents(tmp_path / "again"), contents(tmp_path / "run")
    assert ours.pop("run.json") != theirs.pop("run.json")
    assert ours == theirs


def test_a_manifest_of_variations_needs_their_clips(tmp_path, two_clips):
    run_all(tmp_path / "run", varied_jobs(two_clips))
    manifest = tmp_path / "run" / "manifest.jsonl"
    moved = two_clips[1].rename(tmp_path / "moved.wav")
    with pytest.raises(
        InputDataError, match=r"_clip_1.wav varies .*clip 1.wav, which is not there; name it with"
    ):
        RepeatedJobs(manifest)
    run_all(tmp_path / "again", RepeatedJobs(manifest, (moved,)))
    assert (tmp_path / "again" / "manifest.jsonl").read_bytes() == manifest.read_bytes()
    two_clips[0].write_bytes(moved.read_bytes())
    with pytest.raises(
        InputDataError, match=r"clip 0.wav: is not the clip that awe/awe_0_00000_clip_0.wav of"
    ):
        RepeatedJobs(manifest, (moved,))


NEW_FIELDS = {
    "stretch", "prior_vector", "sweep_position", "like", "like_sha256", "strength", "best_of", "selected_by",
}  # fmt: skip


def test_rows_of_early_versions_are_made_again_as_they_were(tmp_path):
    """They lack the fields that came later; a duration was not yet kept by stretching."""
    run_all(tmp_path / "run", request_jobs(2, duration=0.5))
    rows = [json.loads(line) for line in (tmp_path / "run" / "manifest.jsonl").read_text().splitlines()]
    old = [{key: value for key, value in row.items() if key not in NEW_FIELDS} for row in rows]
    assert len(rows[0]) - len(old[0]) == len(NEW_FIELDS)
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(row) + "\n" for row in old))
    assert [job.stretched for job in RepeatedJobs(tmp_path / "old.jsonl")] == [False, False]
    assert [job.stretched for job in RepeatedJobs(tmp_path / "run" / "manifest.jsonl")] == [True, True]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"like": "a.wav"}, "like, like_sha256 and strength belong together"),
        ({"best_of": 4}, "best_of and selected_by belong together"),
        ({"selected_by": ["x"]}, "best_of and selected_by belong together"),
        ({"sweep_position": 1.2}, "sweep_position"),
    ],
)
def test_rows_that_tell_half_a_story(tmp_path, change, sentence):
    run_all(tmp_path, request_jobs(1))
    row = json.loads((tmp_path / "manifest.jsonl").read_text())
    (tmp_path / "bad.jsonl").write_text(json.dumps({**row, **change}) + "\n")
    with pytest.raises(InputDataError, match=f"line 1: .*{sentence}"):
        RepeatedJobs(tmp_path / "bad.jsonl")


def test_settings_of_a_plain_run_are_those_of_early_versions(two_clips):
    """Else a run that an early version began would be refused."""
    plain = request_jobs(1).settings()
    names = "emotions n intensity seed steps guidance scheduler voice duration format raw trim"
    assert list(plain) == names.split()
    more = varied_jobs(two_clips, best_of=2, selected_by=("x",), sweep=IntensitySweep(0.5, 1.0, 2)).settings()
    assert set(more) - set(plain) == {"like", "best_of", "selected_by", "sweep"}


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
