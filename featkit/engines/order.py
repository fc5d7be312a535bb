"""The order of numbers, found by sorting numbers that hold their own places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from featkit.engines.threads import even, in_slices

if TYPE_CHECKING:
    import numpy.typing as npt

_BITS = 64


def order_of(
    numbers: npt.NDArray[np.uint64], then: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.int64] | None:
    """Find the order in which numbers ascend, equal ones in the order in which they are.

    To sort numbers is many times as fast as to sort their places by them, which lie anywhere in
    memory. So the upper bits of each number and its place are sorted as one number; where the
    bits that had no room decide, the few places are put in order by themselves.

    Parameters
    ----------
    numbers
        What is put in order.
    then
        What decides between equal ones, before the order in which they are.

    Returns
    -------
    places
        The places of the numbers, from the lowest to the highest; None: they are in order.

    Examples
    --------
    >>> order_of(np.array([30, 10, 20], np.uint64))
    array([1, 2, 0])
    """
    if ascend(numbers, *([] if then is None else [then])):
        return None
    width = (len(numbers) - 1).bit_length()
    cut = np.uint64(max(int(numbers.max()).bit_length() + width - _BITS, 0))
    held = np.empty(len(numbers), np.uint64)

    def hold(own: slice) -> None:
        part = numbers[own] >> cut
        part <<= np.uint64(width)
        part |= np.arange(own.start, own.stop, dtype=np.uint64)
        held[own] = part

    in_slices(hold, even(len(numbers)))
    held.sort()
    order: npt.NDArray[np.int64] = (held & np.uint64((1 << width) - 1)).view(np.int64)
    if cut or then is not None:
        held >>= np.uint64(width)
        unclear = _repeated(held)
        places = order[unclear]
        keys = [numbers[places]] if then is None else [then[places], numbers[places]]
        order[unclear] = places[np.lexsort(keys)]
    return order


def ascend(numbers: npt.NDArray[np.uint64], *then: npt.NDArray[np.int64]) -> bool:
    """Tell whether numbers ascend, and where they are equal the others one after the other."""
    if not (numbers[1:] >= numbers[:-1]).all():
        return False
    if not then:
        return True
    second = np.flatnonzero(numbers[1:] == numbers[:-1]) + 1
    for each in then:
        own, before = each[second], each[second - 1]
        if (own < before).any():
            return False
        second = second[own == before]
    return True


def _repeated(ascending: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Find the places of numbers that occur more than once."""
    same = ascending[1:] == ascending[:-1]
    if not same.any():
        return np.empty(0, np.int64)
    repeated = np.zeros(len(ascending), bool)
    repeated[1:] = same
    repeated[:-1] |= same
    return np.flatnonzero(repeated)
