"""The start of workers: how many there are, and that no garbage is looked for among what stays."""

import gc

import pytest

from vocalburst.gen.workers import Workers, starting


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()


def load_nothing():
    return None


def test_helpers_are_started_up_to_the_count_and_are_gone_after_close():
    workers = Workers(load_nothing)
    try:
        numbers = []
        for count in (1, 2, 2, 3):
            workers.start(count)
            numbers.append([helper.number for helper in workers._helpers])
        assert numbers == [[], [1], [1], [1, 2]]
        processes = [helper.process for helper in workers._helpers]
    finally:
        workers.close()
    assert not workers._helpers and not any(process.is_alive() for process in processes)


def test_the_collector_rests_while_starting_and_passes_by_what_is_there_then():
    class Node:
        pass

    gc.unfreeze()
    with starting():
        assert not gc.isenabled()
        ring = Node()
        ring.itself = ring
    assert gc.isenabled() and not any(found is ring for found in gc.get_objects())
    assert gc.get_freeze_count() > 0
    later = Node()
    assert any(found is later for found in gc.get_objects())


def test_the_collector_works_again_after_a_start_that_failed():
    with pytest.raises(ValueError, match="no checkpoint"), starting():
        raise ValueError("no checkpoint")
    assert gc.isenabled()
