"""PyTorch with one thread: for arrays this small, more threads only cost time."""

import contextlib

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(1)
