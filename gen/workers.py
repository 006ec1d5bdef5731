"""The jobs of a run shared over processes of this machine and over the ranks of `accelerate launch`.

Each rank takes every world-size-th unfinished job; its workers draw from these by a shared counter, so a slow
start or a long clip of one keeps no other waiting. The calling process is worker 0. The others are spawned
and stop when it is gone. Each computes on one thread (see `determinism.one_thread`).
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from vocalburst.gen.batch import Run, make_clips, pending
from vocalburst.gen.jobs import Job
from vocalburst.gen.journal import finished, note, open_part

Load = Callable[[], object]  # -> a Synthesiser, or selection.BestOf around one; picklable
LAUNCH_WAIT = timedelta(days=30)  # a rank may finish long before another one


class Ranks:
    """This process among those of `accelerate launch`; alone when it was started in any other way."""

    def __init__(self):
        self.world = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        self.local_rank = int(os.environ.get("LOCAL_RANK", 0))
        self.local_world = int(os.environ.get("LOCAL_WORLD_SIZE", self.world))
        self._state = None

    def join(self, device: str) -> None:
        """Meet the other ranks, if there are any."""
        if self.world > 1:
            from accelerate import PartialState

            self._state = PartialState(cpu=device != "cuda", timeout=LAUNCH_WAIT)
            self.rank, self.world = self._state.process_index, self._state.num_processes

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Return when every rank has come here."""
        if self._state is not None:
            self._state.wait_for_everyone()

    def close(self) -> None:
        if self._state is not None:
            self._state.destroy_process_group()


@dataclass
class Helper:
    """A worker process: its end of the pipe, its number (from 1), and whether it has been given the run."""

    process: BaseProcess
    link: Connection
    number: int
    busy: bool = False


class Workers:
    """Helper processes that load a maker of clips while the caller does, then make clips beside it.

    They are on their way from `start` on, and are given the run by `run`, once.
    """

    def __init__(self, load: Load):
        self._load = load
        self._context = multiprocessing.get_context("spawn")
        self._counter = self._context.Value("q", 0)
        self._helpers: list[Helper] = []

    def start(self, count: int) -> None:
        """Start helpers until there are `count` processes in all, the calling one included."""
        for number in range(len(self._helpers) + 1, count):
            link, far = self._context.Pipe()
            task = (self._load, far, self._counter, number)
            process = self._context.Process(target=_help, args=task, daemon=True)
            process.start()
            far.close()
            self._helpers.append(Helper(process, link, number))

    def run(
        self,
        maker,
        jobs,
        run: Run,
        *,
        rank: int = 0,
        world: int = 1,
        batch_size: int = 1,
        made: Callable[[], object] = lambda: None,
    ) -> None:
        """Make every unfinished job of this rank.

        made: called in this process after each clip of any worker.
        Raises what a worker raised, and OSError when one ended without a word.
        """
        task = (jobs, run, rank, world, batch_size)
        for _ in make_share(maker, *task, worker=0, counter=self._counter):
            made()
            self._listen(self._helpers, task, made, timeout=0)
        # Nothing is left to draw: a helper that is still loading would only be waited for.
        while busy := [helper for helper in self._helpers if helper.busy]:
            self._listen(busy, task, made, timeout=None)

    def close(self) -> None:
        """End the helpers; their finished clips stay."""
        for helper in self._helpers:
            helper.process.terminate()
        while self._helpers:
            self._helpers.pop().process.join()

    def _listen(self, helpers: list[Helper], task: tuple, made, timeout: float | None) -> None:
        """Take what helpers have to say; None waits until one has something."""
        by_link = {helper.link: helper for helper in helpers}
        for link in wait(by_link, timeout):
            helper = by_link[link]
            try:
                kind, value = link.recv()
                if kind == "ready":
                    link.send(task)
            except (EOFError, ConnectionError):
                helper.process.join()
                code = helper.process.exitcode
                raise OSError(
                    f"worker process {helper.number} ended without a word (exit status {code})"
                ) from None
            if kind == "failed":
                raise value
            if kind == "made":
                made()
            helper.busy = kind != "done"
            if kind == "done":
                self._helpers.remove(helper)


def make_share(
    maker, jobs, run: Run, rank: int, world: int, batch_size: int, *, worker: int, counter
) -> Iterator[int]:
    """Make and note the clips that this worker draws; yields the position of each."""

    def take() -> int:
        with counter.get_lock():
            number = counter.value
            counter.value += 1
        return number * world + rank

    drawn = pending(jobs, finished(run.folder, len(jobs)), take)
    with open_part(run.folder, rank, worker) as journal:
        for job, clip in make_clips(maker, stop_with_parent(drawn), run, batch_size):
            note(journal, job.position, clip)
            yield job.position


def stop_with_parent(jobs: Iterator[Job]) -> Iterator[Job]:
    """The same jobs, ended when the process that started this worker is gone."""
    parent = multiprocessing.parent_process()
    return jobs if parent is None else itertools.takewhile(lambda _: parent.is_alive(), jobs)


def _help(load: Load, link: Connection, counter, number: int) -> None:
    """Life of a helper: load, ask for the run, make clips, tell of each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller is interrupted too, and ends its helpers
    try:
        with starting():
            maker = load()
        link.send(("ready", None))
        for position in make_share(maker, *link.recv(), worker=number, counter=counter):
            link.send(("made", position))
        link.send(("done", None))
    except (ConnectionError, EOFError):
        pass  # the caller is gone
    except Exception as error:
        link.send(("failed", error))


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_maker(checkpoint: Path | None, device: str, vocoder: str | None):
    """`synthesis.load_synthesiser` behind a late import: a worker starts without what it does not need yet."""
    from vocalburst.gen.synthesis import load_synthesiser

    return load_synthesiser(checkpoint, device=device, vocoder=vocoder)


@contextmanager
def starting() -> Iterator[None]:
    """No search for garbage meanwhile, nor ever among what is there at the end.

    The modules behind torch and diffusers are some 360 000 objects that stay (`gc.get_freeze_count`), and the collector
    would go through them again and again while they are imported, and once more when the process ends.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
