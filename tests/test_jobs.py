"""Jobs: what each clip of a request is, and the same from the manifest of a run, of sweeps and variations too."""

import hashlib
import json
import random
import tracemalloc
from dataclasses import replace
from itertools import chain, islice, pairwise

import pytest
import soundfile
from batch_fixtures import EMOTIONS, contents, fixed_time, request_jobs, run_all
from conftest import synthetic_burst

from vocalburst.gen.batch import pending
from vocalburst.gen.data.audio import encode_wave
from vocalburst.gen.data.emotions import parse_request
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.generated import read_generated
from vocalburst.gen.jobs import RepeatedJobs, RequestedJobs
from vocalburst.gen.sweep import EmotionSweep, IntensitySweep
from vocalburst.gen.variation import open_variations

__all__ = ["fixed_time"]  # fixtures


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


def test_the_clips_of_an_emotion_take_turns_among_the_train_clips():
    jobs = list(request_jobs(20, "awe", "fear"))
    for label in ("awe", "fear"):
        places = sorted(job.quantile for job in jobs if job.emotion == label)
        assert max(after - before for before, after in pairwise(places)) < 2 / 20
    start, end = (parse_request(name, EMOTIONS) for name in ("awe", "fear"))
    sweep = EmotionSweep(start, end, 1.0, 3)
    swept = list(replace(request_jobs(2), requests=(sweep.request,), sweep=sweep))
    assert len({job.quantile for job in swept[:3]}) == 1 and len({job.quantile for job in swept}) == 2


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
    "second_voice", "stretch", "prior_vector", "quantile", "sweep_position", "like", "like_sha256", "strength",
    "best_of", "selected_by",
}  # fmt: skip


def test_rows_of_early_versions_are_made_again_as_they_were(tmp_path):
    """They lack the fields that came later; a duration was not yet kept by stretching."""
    run_all(tmp_path / "run", request_jobs(2, duration=0.5))
    rows = [json.loads(line) for line in (tmp_path / "run" / "manifest.jsonl").read_text().splitlines()]
    old = [{key: value for key, value in row.items() if key not in NEW_FIELDS} for row in rows]
    assert len(rows[0]) - len(old[0]) == len(NEW_FIELDS)
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(row) + "\n" for row in old))
    assert [job.quantile for job in RepeatedJobs(tmp_path / "old.jsonl")] == [None, None]
    assert [job.stretched for job in RepeatedJobs(tmp_path / "old.jsonl")] == [False, False]
    assert [job.voice_mixed for job in RepeatedJobs(tmp_path / "old.jsonl")] == [False, False]
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
