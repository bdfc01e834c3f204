from hypothesis import given
from hypothesis import strategies as st

from compiler.ring import place_ring


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=60),
    st.integers(0, 9),
    st.integers(12, 60),
    st.integers(1, 9),
)
def test_no_load_overwrites_live_weights(sizes, start, length, tables):
    ring = place_ring(sizes, start, start + length, tables)
    givers = [number for number, block in enumerate(ring) if block.frees]
    taken, retired = 0, 0
    for number, block in enumerate(ring):
        assert start <= block.row
        assert block.end <= start + length
        if block.waits:
            retired = givers[taken] + 1
            taken += 1
            assert givers[taken - 1] < number
        for other in ring[retired:number]:
            assert other.table != block.table
            assert other.end <= block.row or block.end <= other.row
    assert taken == len(givers)


def test_prefetch_uses_the_whole_ring():
    ring = place_ring([4] * 6, 10, 22, 8)
    assert [block.row for block in ring] == [10, 14, 18, 10, 14, 18]
    assert [block.after for block in ring] == [0, 0, 0, 1, 2, 3]
    assert [block.waits for block in ring] == [False, False, False, True, True, True]
    assert [block.frees for block in ring] == [True, True, True, False, False, False]
