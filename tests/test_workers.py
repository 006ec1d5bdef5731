"""The start of a worker: no garbage is looked for among what stays."""

import gc

import pytest

from vocalburst.gen.workers import starting


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()


def test_the_collector_rests_while_starting_and_passes_by_what_is_there_then():
    class Node:
        pass

    gc.unfreeze()
    with starting():
        assert not gc.isenabled()
        ring = Node()
        ring.itself = ring
    assert gc.isenabled() and any(found is ring for found in gc.get_objects()) is False
    assert gc.get_freeze_count() > 0
    later = Node()
    assert any(found is later for found in gc.get_objects())


def test_the_collector_works_again_after_a_start_that_failed():
    with pytest.raises(ValueError, match="no checkpoint"), starting():
        raise ValueError("no checkpoint")
    assert gc.isenabled()
