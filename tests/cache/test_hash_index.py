"""The hash index against a dict."""

import hypothesis.strategies as some
import numpy as np
from hypothesis import given

from featkit.cache.hash_index import HashIndex

CODES = some.one_of(
    some.integers(-(2**63), 2**63 - 1),
    some.integers(0, 20),
    some.sampled_from([n << shift for n in range(9) for shift in (32, 40, 56, 60)]).map(
        lambda code: code - 2**64 if code >= 2**63 else code
    ),
)
BATCHES = some.lists(some.lists(CODES, max_size=80), max_size=6)


def array(codes):
    return np.array(codes, dtype=np.int64)


@given(batches=BATCHES, more=some.lists(CODES, max_size=20))
def test_it_finds_what_a_dict_finds(batches, more):
    index, known, height = HashIndex(), {}, 0
    for codes in batches:
        index.put(array(codes))
        for code in codes:
            known[code] = height
            height += 1
        asked = [*known, *more]
        assert index.find(array(asked)).tolist() == [known.get(code, -1) for code in asked]
    assert (index.height, index.live) == (height, len(known))
    assert index.rows().tolist() == sorted(known.values())


@given(first=some.lists(CODES, max_size=40), second=some.lists(CODES, max_size=40))
def test_a_copy_goes_its_own_way(first, second):
    index = HashIndex()
    index.put(array(first))
    other = index.copy()
    other.put(array(second))
    places = {code: place for place, code in enumerate(first)}
    assert index.find(array(first)).tolist() == [places[code] for code in first]
    assert other.live == len({*first, *second})


def test_codes_that_crowd_are_found():
    # multiples of a power of two, as identifiers of some systems are
    codes = np.arange(50_000, dtype=np.int64) << 40
    index = HashIndex()
    index.put(codes)
    assert (index.find(codes) == np.arange(50_000)).all()
    assert (index.find(codes + 1) == -1).all()


def test_codes_in_the_order_in_which_they_were_put_are_a_run():
    index, codes = HashIndex(), np.random.default_rng(0).permutation(5000)
    assert index.run(codes) is None
    index.put(codes[:3000])
    index.put(codes[3000:])
    assert index.run(codes) == slice(0, 5000)
    assert index.run(codes[2900:3100]) == slice(2900, 3100)
    for others in (codes[::-1], codes[::2], codes[:10], np.append(codes[:200], codes[201:300])):
        assert index.run(others.copy()) is None
    unknown = codes.copy()
    unknown[-1] = 10_000
    assert index.run(unknown) is None
    unknown = codes.copy()
    unknown[0] = 10_000
    assert index.run(unknown) is None
    assert index.run(np.append(codes[4000:], codes[:4000])) is None
    index.put(codes[:1])  # a row was replaced
    assert index.run(codes) is None
