"""Trace files: parsed into the golden machine's form, and compared."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from golden_model.trace import Writes
from sim.errors import SimulationError
from sim.trace import compare_tensors, compare_writes, read_traces
from spec.isa import Opcode

TEXT = """\
I 00000110 0001
T 00000120 0003 00010 0f 8877665544332211
S 00000130 0007 0 3 000000000005fffe
R 00000140 0004 0 2 00005 0807060504030201
P 00000150 0007 0 00000a09
T 00000160 0003 00011 ff 1122334455667788
I 00000170 0002
T 00000180 0003 00010 f0 01020304xxxxxxxx
"""


def traces(tmp_path, text=TEXT, runs=2):
    path = tmp_path / "trace.txt"
    path.write_text(text)
    return [trace.writes for trace in read_traces(path, runs, banks=4, lanes=8)]


def test_lines_become_writes(tmp_path):
    first, second = traces(tmp_path)
    assert list(first) == [3, 4, 7]
    writes = first[3]
    assert list(writes.token_address) == [16, 17]
    assert writes.token_data[0].tolist() == [0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0]
    assert writes.token_data[1].tolist() == [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]
    assert writes.token_mask[0].tolist() == [True] * 4 + [False] * 4
    assert len(writes.scores) == 0
    assert (first[4].row_bank[0], first[4].row_address[0]) == (2, 5)
    assert first[4].row_data[0].tolist() == list(range(1, 9))
    assert first[7].scores.tolist() == [[-2, 5, 0, 0]]
    assert first[7].score_valid.tolist() == [[True, True, False, False]]
    assert first[7].probs.tolist() == [[9, 10, 0, 0]]
    assert second[3].token_data[0].tolist() == [0, 0, 0, 0, 4, 3, 2, 1]


def test_a_row_to_all_banks_is_one_write(tmp_path):
    first, _ = traces(tmp_path, TEXT.replace("R 00000140 0004 0 2", "R 00000140 0004 0 4"))
    assert first[4].row_bank.tolist() == [-1]


def test_last_writes_count_from_the_start_of_the_image(tmp_path):
    path = tmp_path / "trace.txt"
    path.write_text(TEXT)
    first, second = read_traces(path, 2, banks=4, lanes=8)
    assert first.last_write == {3: 80, 7: 64, 4: 48}
    assert second.last_write == {3: 16}


def test_undefined_bits_are_refused_where_they_are_written(tmp_path):
    with pytest.raises(SimulationError, match=r"instruction 3 wrote undefined bits \(token memory"):
        traces(tmp_path, TEXT.replace("f0 0102", "f1 0102"))
    with pytest.raises(SimulationError, match="token memory has an undefined address"):
        traces(tmp_path, TEXT.replace(" 00011 ", " 0001x "))


def test_writes_between_runs_are_refused(tmp_path):
    with pytest.raises(SimulationError, match="instruction 3 wrote between runs"):
        traces(tmp_path, runs=1)


def test_writes_are_compared_one_by_one(tmp_path):
    first, second = traces(tmp_path)
    program = np.zeros((8, 32), np.uint8)
    image = SimpleNamespace(names=tuple(f"tensor{n}" for n in range(8)), program=program)
    assert compare_writes(first, first, image) == []
    data = first[3].token_data.copy()
    data[1, 2] ^= 1
    changed = first | {3: replace(first[3], token_data=data)}
    assert compare_writes(changed, first, image) == [
        "pc 3 (tensor3): token_data: 1 of 16 elements differ, first at [1, 2]: "
        "got 103, expected 102"
    ]
    assert any("1 writes, expected 2" in line for line in compare_writes(second, first, image))
    assert any("pc 7" in line for line in compare_writes(second, first, image))
    without_rows = {pc: writes for pc, writes in first.items() if pc != 4}
    assert len(compare_writes(without_rows, first, image)) == 3
    program[4, 0] = Opcode.LOAD_WEIGHTS.value
    assert compare_writes(without_rows, first, image) == []
    assert compare_writes({5: Writes.empty(4, 8)}, {}, image) == []


def test_tensors_are_compared_by_name():
    one = {"a": np.zeros((2, 3), np.int8), "b": np.arange(4, dtype=np.int16)}
    other = {"a": np.zeros((2, 3), np.int8), "b": np.array([0, 1, 9, 9], np.int16)}
    same, differs = compare_tensors(one, other)
    assert (same.differing, differs.differing) == (0, 2)
    assert str(differs) == "b: 2 of 4 elements differ, first at [2]: got 2, expected 9"
    assert compare_tensors({"a": one["a"]}, one)[1].differing == 4
    with pytest.raises(SimulationError, match="no expected values for tensor b"):
        compare_tensors(one, {"a": one["a"]})
    with pytest.raises(SimulationError, match=r"a: shape \[1\], expected \[2, 3\]"):
        compare_tensors({"a": np.zeros(1)}, {"a": one["a"]})


def test_other_numbers_of_rows_are_differences():
    two, three = (np.ones((rows, 4), np.int8) for rows in (2, 3))
    two[1, 2] = 7
    for got, expected in ((two, three), (three, two)):
        (found,) = compare_tensors({"a": got}, {"a": expected})
        assert found.differing == 4 + 1
        assert str(found) == (
            f"a: 5 elements differ, shape {list(got.shape)}, expected {list(expected.shape)}"
        )
