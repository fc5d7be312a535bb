"""Numbers are put in order as a stable sort would, whatever has room beside their places."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from featkit.engines.order import order_of

few = st.integers(0, 3)
wide = st.one_of(few, few.map(lambda n: 2**63 + n), st.integers(0, 2**64 - 1))
rows = st.lists(st.tuples(wide, few), max_size=50)


def expected(numbers, *then):
    order = np.lexsort([*reversed(then), numbers])
    return None if (order == np.arange(len(order))).all() else order.tolist()


def told(order):
    return None if order is None else order.tolist()


@given(rows)
def test_equal_numbers_stay_in_their_order(rows):
    numbers = np.array([number for number, _ in rows], np.uint64)
    assert told(order_of(numbers)) == expected(numbers)


@given(rows)
def test_something_else_decides_between_equal_numbers(rows):
    numbers = np.array([number for number, _ in rows], np.uint64)
    then = np.array([second for _, second in rows], np.int64)
    assert told(order_of(numbers, then)) == expected(numbers, then)
