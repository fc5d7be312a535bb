"""Work on several cores gives what it would give on one, in the same order."""

import numpy as np
import pytest

from featkit.engines.threads import at_once, even, in_slices, in_turn


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_results_keep_the_order_of_things(ahead):
    assert list(in_turn(str, range(20), ahead=ahead)) == [*map(str, range(20))]


def test_what_a_thread_raises_is_raised():
    results = in_turn(int, ["1", "x", "2"], ahead=1)
    assert next(results) == 1
    with pytest.raises(ValueError, match="invalid literal"):
        next(results)


def test_jobs_give_their_results_in_order():
    assert at_once(lambda: 1, lambda: 2) == [1, 2]


@pytest.mark.parametrize("height", [0, 1, 7, 1_000_003])
def test_slices_cover_all_rows_once(height):
    seen = np.zeros(height, int)

    def work(own):
        seen[own] += 1

    in_slices(work, even(height))
    assert (seen == 1).all()
