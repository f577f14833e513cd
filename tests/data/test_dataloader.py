"""Windows of tokens: every token once, the targets one later, the order from a seed, and resuming exactly."""

import json

import numpy as np
import pytest

from numpygpt.data import DataLoader, eval_batches


def windows(loader, batches):
    return np.concatenate([loader.next_batch()[0] for _ in range(batches)])


def epochs_of(loader, count):
    """The windows of the first epochs, one array each; batch size 1."""
    batches = (loader.next_batch()[0] for _ in iter(int, 1))
    found = []
    while len(found) < count:
        first = next(batches)
        assert loader.state_dict() == {"epoch": len(found), "position": 1}
        found.append(np.concatenate([first, *(next(batches) for _ in range(len(loader.order) - 1))]))
    return found


@pytest.mark.parametrize("dtype", ["<u2", "<u4", "int64"])
def test_batch_shape_dtype_and_shift(dtype):
    tokens = np.random.default_rng(0).integers(0, 1000, 500).astype(dtype)
    x, y = DataLoader(tokens, batch_size=5, context=7).next_batch()
    for part in (x, y):
        assert part.shape == (5, 7) and part.dtype == np.int64
        assert part.flags.c_contiguous and part.flags.owndata
    assert np.array_equal(x[:, 1:], y[:, :-1])
    stream = tokens.tolist()
    for row_x, row_y in zip(x.tolist(), y.tolist(), strict=True):
        starts = [i for i in range(len(stream)) if stream[i : i + 8] == [*row_x, row_y[-1]]]
        assert starts, "a window that is no piece of the text"


@pytest.mark.parametrize("count", [8, 9, 14, 15, 16, 100, 101, 106, 107])
def test_an_epoch_shows_every_window_once(count):
    T = 7
    loader = DataLoader(np.arange(count), batch_size=1, context=T, seed=3)
    for windows in epochs_of(loader, 6):
        starts = sorted(windows[:, 0].tolist())
        offset = starts[0]
        assert 0 <= offset < T
        assert starts == list(range(offset, count - T, T))  # end to end, none missing, none twice


def test_epochs_differ_in_offset_and_order():
    loader = DataLoader(np.arange(1000), batch_size=1, context=10, seed=0)
    epochs = [windows[:, 0] for windows in epochs_of(loader, 8)]
    assert len({int(starts.min()) for starts in epochs}) > 3
    assert all(not np.array_equal(starts, np.sort(starts)) for starts in epochs)
    orders = {tuple(np.argsort(starts)[:20].tolist()) for starts in epochs}
    assert len(orders) == 8


def test_same_seed_same_batches_other_seed_other_batches():
    a, b, c = (DataLoader(np.arange(1000), 4, 10, seed=seed) for seed in (1, 1, 2))
    first = windows(a, 60)
    assert np.array_equal(first, windows(b, 60))
    assert not np.array_equal(first, windows(c, 60))


def test_the_global_generator_is_neither_read_nor_moved():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    windows(DataLoader(np.arange(1000), 4, 10), 60)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_in_order_without_shuffle():
    loader = DataLoader(np.arange(23), batch_size=3, context=5, shuffle=False)
    assert windows(loader, 2)[:, 0].tolist() == [0, 5, 10, 15, 0, 5]
    assert loader.state_dict() == {"epoch": 1, "position": 2}


def test_a_batch_goes_over_the_end_of_one_epoch_and_of_several():
    one_by_one = DataLoader(np.arange(40), batch_size=1, context=6, seed=5)
    for size in (4, 13, 50):  # an epoch has 5 or 6 windows
        loader = DataLoader(np.arange(40), batch_size=size, context=6, seed=5)
        one_by_one.load_state_dict({"epoch": 0, "position": 0})
        assert np.array_equal(windows(loader, 5), windows(one_by_one, 5 * size))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("stop", [0, 1, 4, 5, 6, 17])
def test_resumes_exactly(stop, shuffle):
    def loader():
        return DataLoader(np.arange(100), batch_size=3, context=7, seed=2, shuffle=shuffle)

    straight = loader()
    windows(straight, stop) if stop else None
    state = json.loads(json.dumps(straight.state_dict()))  # as it comes back from a checkpoint
    resumed = loader()
    windows(resumed, 2)  # wherever it stood
    resumed.load_state_dict(state)
    for _ in range(12):
        for a, b in zip(straight.next_batch(), resumed.next_batch(), strict=True):
            assert np.array_equal(a, b)


def test_iterating_is_next_batch():
    a, b = (DataLoader(np.arange(100), 3, 7) for _ in range(2))
    for (x, y), _ in zip(a, range(20), strict=False):
        x2, y2 = b.next_batch()
        assert np.array_equal(x, x2) and np.array_equal(y, y2)


def test_reads_a_memmap_and_leaves_it_as_it_was(tmp_path):
    np.arange(300, dtype="<u2").tofile(tmp_path / "train.bin")
    tokens = np.memmap(tmp_path / "train.bin", dtype="<u2", mode="r")
    x, _ = DataLoader(tokens, 4, 16).next_batch()
    assert type(x) is np.ndarray
    x += 1  # the caller's own array
    assert np.array_equal(tokens, np.arange(300))


def test_the_shortest_text_is_context_plus_one():
    loader = DataLoader(np.arange(9), batch_size=2, context=8)
    for _ in range(5):
        x, y = loader.next_batch()
        assert x.tolist() == [list(range(8))] * 2 and y.tolist() == [list(range(1, 9))] * 2
    with pytest.raises(ValueError, match="8.*context.*8.*9"):
        DataLoader(np.arange(8), batch_size=2, context=8)


@pytest.mark.parametrize(
    ("tokens", "batch", "context", "message"),
    [
        (np.arange(9), 0, 4, "at least 1, got 0 and 4"),
        (np.arange(9), 2, 0, "at least 1, got 2 and 0"),
        (np.arange(9.0), 2, 4, "float64"),
        (np.arange(10).reshape(2, 5), 2, 4, r"shape \(2, 5\)"),
    ],
)
def test_refuses_what_is_no_token_row(tokens, batch, context, message):
    for make in (DataLoader, eval_batches):
        with pytest.raises(ValueError, match=message):
            make(tokens, batch, context)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"epoch": 1}, "got epoch"),
        ({"epoch": -1, "position": 0}, "at least 0"),
        ({"epoch": 0, "position": 99}, "position 99.*epoch 0.* 1[34] windows"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(state, message):
    loader = DataLoader(np.arange(100), 3, 7)
    loader.next_batch()
    with pytest.raises(ValueError, match=message):
        loader.load_state_dict(state)
    assert loader.state_dict() == {"epoch": 0, "position": 3}


@pytest.mark.parametrize("count", [2, 3, 8, 9, 10, 40, 41, 42, 57])
@pytest.mark.parametrize("batch", [1, 3])
def test_evaluation_covers_every_target_once_in_order(count, batch):
    tokens = np.random.default_rng(count).integers(1, 50, count).astype(np.uint16)
    batches = list(eval_batches(tokens, batch, 8))
    assert all(x.dtype == y.dtype == np.int64 and x.shape == y.shape for x, y in batches)
    assert all(x.shape[1] == 8 and x.shape[0] <= batch for x, _ in batches)
    x = np.concatenate([x.ravel() for x, _ in batches])
    y = np.concatenate([y.ravel() for _, y in batches])
    counted = y != -1
    assert np.array_equal(y[counted], tokens[1:])
    assert np.array_equal(x[counted], tokens[:-1])
    assert not x[~counted].any()
    assert (~counted).sum() < 8 and counted[: count - 1].all()  # only the last window is filled up


def test_evaluation_is_the_same_every_time_and_refuses_one_token():
    tokens = np.arange(100)
    for a, b in zip(eval_batches(tokens, 4, 9), eval_batches(tokens, 4, 9), strict=True):
        assert np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])
    with pytest.raises(ValueError, match="1"):
        eval_batches(tokens[:1], 4, 9)  # at the call, before the first batch is asked for
