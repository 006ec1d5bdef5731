"""The settings that make bytes the same hold inside a block, and nothing of them stays behind."""

import os

import pytest
import torch

from vocalburst.gen.determinism import one_thread, same_every_time


@pytest.mark.parametrize("before", [(False, False), (True, False), (True, True)])
def test_deterministic_algorithms_inside_the_block_alone(before):
    state = torch.are_deterministic_algorithms_enabled, torch.is_deterministic_algorithms_warn_only_enabled
    enabled, warn_only = before
    torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
    try:
        with pytest.raises(ZeroDivisionError), same_every_time():
            assert [ask() for ask in state] == [True, True]
            raise ZeroDivisionError
        assert [ask() for ask in state] == [enabled, warn_only]
    finally:
        torch.use_deterministic_algorithms(False)


def test_cuda_is_told_before_its_first_product():
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] in (
        ":4096:8",
        ":16:8",
    )  # the two that CUDA calls reproducible


def test_one_thread_inside_the_block_alone():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError), one_thread():
            assert torch.get_num_threads() == 1
            raise ZeroDivisionError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
