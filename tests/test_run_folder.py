"""What a run leaves on disk: whole folders, the last checkpoints, one metrics line per log."""

import json

import pytest

from vocalburst.gen import run_folder
from vocalburst.gen.run_folder import MetricsLog, latest_checkpoint, prune_checkpoints, written_whole


def test_a_folder_appears_when_it_is_whole(tmp_path):
    target = tmp_path / "runs" / "model"
    with written_whole(target) as part:
        (part / "a").write_text("1")
        assert not target.exists()
    assert [p.name for p in tmp_path.joinpath("runs").iterdir()] == ["model"]
    assert (target / "a").read_text() == "1"


def test_a_failed_write_keeps_the_old_folder(tmp_path):
    target = tmp_path / "model"
    with written_whole(target) as part:
        (part / "a").write_text("old")
    with pytest.raises(OSError, match="disk full"), written_whole(target) as part:
        (part / "a").write_text("half")
        raise OSError("disk full")
    assert (target / "a").read_text() == "old"
    with written_whole(target) as part:  # what the failed write left is no obstacle
        assert not any(part.iterdir())
        (part / "b").write_text("new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]
    assert [p.name for p in target.iterdir()] == ["b"]


def test_latest_checkpoint_counts_whole_folders_only(tmp_path):
    assert latest_checkpoint(tmp_path / "checkpoints") is None
    for name in ("000000000900", "000000001000", ".000000002000.part", ".000000000900.old", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "000000003000").write_text("a file is no checkpoint")
    assert latest_checkpoint(tmp_path).name == "000000001000"


def test_prune_keeps_the_last(tmp_path):
    for seen in (100, 20, 3000, 400):
        (tmp_path / f"{seen:012d}").mkdir()
        (tmp_path / f"{seen:012d}" / "weights").write_text("x")
    (tmp_path / "notes").mkdir()
    prune_checkpoints(tmp_path, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000000000400", "000000003000", "notes"]
    prune_checkpoints(tmp_path, keep=5)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_kill_while_pruning_leaves_no_half_checkpoint(tmp_path, monkeypatch):
    for seen in (100, 200, 300):
        (tmp_path / f"{seen:012d}").mkdir()
        for name in ("model", "optimizer"):
            (tmp_path / f"{seen:012d}" / name).write_text("x")

    def killed_halfway(folder):
        (folder / "model").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run_folder.shutil, "rmtree", killed_halfway)
        prune_checkpoints(tmp_path, keep=1)
    for path in run_folder.list_checkpoints(tmp_path):
        assert sorted(p.name for p in path.iterdir()) == ["model", "optimizer"]
    prune_checkpoints(tmp_path, keep=1)  # takes what the kill left away too
    assert [p.name for p in tmp_path.iterdir()] == ["000000000300"]


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_metrics_are_appended(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    MetricsLog(path).write(seen=10, loss=0.5)
    MetricsLog(path).write(seen=20, loss=0.25, clips_per_second=3.0)
    assert lines(path) == [{"seen": 10, "loss": 0.5}, {"seen": 20, "loss": 0.25, "clips_per_second": 3.0}]


def test_other_processes_write_nothing(tmp_path):
    MetricsLog(tmp_path / "metrics.jsonl", active=False).write(seen=1, loss=0.0)
    assert not any(tmp_path.iterdir())


def test_metrics_go_to_tensorboard_too(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = MetricsLog(tmp_path / "metrics.jsonl")
    board = log.open_tensorboard(tmp_path)
    log.write(seen=64, loss=0.5)
    board.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in events] == [(64, 0.5)]


def test_metrics_written_after_a_checkpoint_are_taken_back(tmp_path):
    """A run that goes on from a checkpoint repeats what came after it; the lines of the lost part must go."""
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    for seen in (10, 20, 30):
        log.write(seen=seen, loss=1.0)
    with path.open("a") as file:
        file.write('{"seen": 40, "lo')  # cut short by a kill
    log.rewind(20)
    assert [line["seen"] for line in lines(path)] == [10, 20]
    log.rewind(20)
    MetricsLog(tmp_path / "none.jsonl").rewind(5)
    assert [line["seen"] for line in lines(path)] == [10, 20]
    assert not (tmp_path / "none.jsonl").exists()
