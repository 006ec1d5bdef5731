"""The jobs of a run shared over processes of this machine and over the ranks of `accelerate launch`.

Each rank takes every world-size-th unfinished job; its workers draw from these by a shared counter, so a slow
start or a long clip of one keeps no other waiting. The calling process is worker 0. The others are spawned
and stop when it is gone. Each computes on one thread (see `pipeline.one_thread`).
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path

from vocalburst.gen.batch import Job, Run, make_clips, pending
from vocalburst.gen.journal import finished, note, open_part

Load = Callable[[], object]  # -> BurstPipeline; picklable
LAUNCH_WAIT = timedelta(days=30)  # a rank may finish long before another one


class Ranks:
    """This process among those of `accelerate launch`; alone when it was started in any other way."""

    def __init__(self, device: str):
        self.world = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        self.local_rank = int(os.environ.get("LOCAL_RANK", 0))
        self.local_world = int(os.environ.get("LOCAL_WORLD_SIZE", self.world))
        self._state = None
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


class Workers:
    """Helper processes that load the pipeline while the caller does, then wait for `run`."""

    def __init__(self, load: Load, count: int):
        """count: processes in all, the calling one included."""
        context = multiprocessing.get_context("spawn")
        self._counter = context.Value("q", 0)
        self._links = []
        self._processes = []
        for _ in range(count - 1):
            link, far = context.Pipe()
            process = context.Process(target=_help, args=(load, far, self._counter), daemon=True)
            process.start()
            far.close()
            self._links.append(link)
            self._processes.append(process)

    def run(
        self,
        pipeline,
        jobs,
        run: Run,
        *,
        rank: int = 0,
        world: int = 1,
        batch_size: int = 1,
        made: Callable[[bool | None], None] = lambda same: None,
    ) -> None:
        """Make every unfinished job of this rank.

        made: called in this process after each clip of any worker, with whether its hash is the one that the
            job asks for (None when it asks for none).
        Raises what a worker raised, and OSError when one ended without a word.
        """
        for number, link in enumerate(self._links, 1):
            self._send(link, (jobs, run, rank, world, number, batch_size))
        for same in make_share(pipeline, jobs, run, rank, world, 0, batch_size, self._counter):
            made(same)
            self._listen(made, timeout=0)
        while any(link is not None for link in self._links):
            self._listen(made, timeout=None)

    def close(self) -> None:
        """End the helpers; their finished clips stay."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def _send(self, link, message) -> None:
        with suppress(OSError):  # it has died; _listen finds out how
            link.send(message)

    def _listen(self, made, timeout: float | None) -> None:
        while ready := wait([link for link in self._links if link is not None], timeout):
            for link in ready:
                place = self._links.index(link)
                try:
                    kind, value = link.recv()
                except (EOFError, ConnectionResetError):
                    self._processes[place].join()
                    code = self._processes[place].exitcode
                    raise OSError(
                        f"worker process {place + 1} ended without a word (exit status {code})"
                    ) from None
                if kind == "made":
                    made(value)
                elif kind == "failed":
                    raise value
                else:
                    self._links[place] = None
            timeout = 0


def make_share(
    pipeline, jobs, run: Run, rank: int, world: int, worker: int, batch_size: int, counter
) -> Iterator[bool | None]:
    """Make and note the clips that this worker draws; yields whether each hash is as asked (None: not)."""

    def take() -> int:
        with counter.get_lock():
            number = counter.value
            counter.value += 1
        return number * world + rank

    drawn = pending(jobs, finished(run.folder, len(jobs)), take)
    with open_part(run.folder, rank, worker) as journal:
        for job, clip in make_clips(pipeline, stop_with_parent(drawn), run, batch_size):
            note(journal, job.position, clip)
            yield None if job.sha256 is None else job.sha256 == clip.sha256


def stop_with_parent(jobs: Iterator[Job]) -> Iterator[Job]:
    """The same jobs, ended when the process that started this worker is gone."""
    parent = multiprocessing.parent_process()
    return jobs if parent is None else itertools.takewhile(lambda _: parent.is_alive(), jobs)


def _help(load: Load, link, counter) -> None:
    """Life of a helper: load, wait for the run, make clips, tell of each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller is interrupted too, and ends its helpers
    try:
        pipeline = load()
        jobs, run, rank, world, number, batch_size = link.recv()
        for same in make_share(pipeline, jobs, run, rank, world, number, batch_size, counter):
            link.send(("made", same))
        link.send(("done", None))
    except (BrokenPipeError, EOFError):
        pass  # the caller is gone
    except Exception as error:
        link.send(("failed", error))


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_pipeline(checkpoint: Path | None, device: str, vocoder: str | None):
    """`pipeline.load_generator` behind a late import: a worker starts without what it does not need yet."""
    from vocalburst.gen.pipeline import load_generator

    return load_generator(checkpoint, device=device, vocoder=vocoder)
