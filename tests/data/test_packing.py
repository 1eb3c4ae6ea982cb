"""Best fit: rows that hold everything once, never too much, with little left over."""

import random
import time
from itertools import chain

import pytest

from wikillama.data.packing import best_fit, waste


def of_dialogues(n: int, mean: int, longest: int, seed: int = 0) -> list[int]:
    """Lengths as turns of Wizard of Wikipedia have them: log-normal, some at the limit."""
    draw = random.Random(seed)
    sigma = 0.5
    return [min(longest, max(8, int(draw.lognormvariate(0, sigma) * mean / 1.133))) for _ in range(n)]


def searched(lengths: list[int], row_length: int) -> list[list[int]]:
    """Best fit decreasing as the textbook has it: look at every row, the fullest that has room wins."""
    rows: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        rooms = [row_length - sum(lengths[i] for i in row) for row in rows]
        fitting = [room for room in rooms if room >= lengths[place]]
        if fitting:
            rows[rooms.index(min(fitting))].append(place)
        else:
            rows.append([place])
    return rows


def test_by_hand() -> None:
    # 7 and 6 open rows, 4 fits none of them, 3 goes behind 7 exactly, 3 behind 6 (room 1) and not behind 4 (room 3)
    assert best_fit([3, 7, 4, 3, 6, 1, 5], 10) == [[1, 0], [4, 2], [6, 3, 5]]
    # first fit would put 2 into the first row; best fit puts it where it leaves nothing
    assert best_fit([6, 8, 2], 10) == [[1, 2], [0]]
    assert best_fit([5, 4, 3], 100) == [[0, 1, 2]]


@pytest.mark.parametrize("row_length", [10, 64, 200])
@pytest.mark.parametrize("seed", range(5))
def test_it_fills_rows_as_a_search_does(row_length: int, seed: int) -> None:
    draw = random.Random(seed)
    lengths = [draw.randint(1, row_length) for _ in range(150)]

    def filled(rows: list[list[int]]) -> list[int]:
        return sorted(sum(lengths[i] for i in row) for row in rows)

    rows = best_fit(lengths, row_length)
    assert sorted(chain.from_iterable(rows)) == list(range(150))
    assert filled(rows) == filled(searched(lengths, row_length))  # whichever of two rows with equal room is taken


@pytest.mark.parametrize(("mean", "longest"), [(200, 512), (240, 1024), (285, 1024)])
@pytest.mark.parametrize("row_length", [2048, 8192])
def test_turns_of_dialogues_fill_their_rows(mean: int, longest: int, row_length: int) -> None:
    lengths = of_dialogues(20_000, mean, longest)
    assert abs(sum(lengths) / len(lengths) - mean) < 0.03 * mean
    started = time.process_time()
    rows = best_fit(lengths, row_length)
    assert time.process_time() - started < 2.0
    assert sorted(chain.from_iterable(rows)) == list(range(20_000))
    assert max(sum(lengths[i] for i in row) for row in rows) <= row_length
    wasted = waste(lengths, rows, row_length)
    assert wasted == pytest.approx(1 - sum(lengths) / (len(rows) * row_length))
    assert 0 <= wasted < 0.03
    assert best_fit(lengths, row_length) == rows


def test_edges() -> None:
    assert best_fit([], 8) == []
    assert waste([], [], 8) == 0.0
    assert best_fit([8], 8) == [[0]]
    assert waste([8], [[0]], 8) == 0.0
    assert waste([3, 3], [[0], [1]], 4) == 0.25
    assert best_fit([8, 8, 8], 8) == [[0], [1], [2]]


def test_what_does_not_fit_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="an example of 9 tokens does not fit a row of 8"):
        best_fit([3, 9, 8], 8)
