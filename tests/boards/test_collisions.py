"""Masks of read ports in RTLIL: set where a memory is marked, and nowhere else."""

import re

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from boards.collisions import free_collisions


class TwoMemories(wiring.Component):
    """One memory is marked or not, the other never; the first has two write ports."""

    def __init__(self, attrs, domain):
        self.attrs, self.domain = attrs, domain
        super().__init__({"address": In(4), "data": In(8), "write": In(1), "out": Out(8)})

    def elaborate(self, platform):
        m = Module()
        total = 0
        for name, attrs in (("first", self.attrs), ("second", {})):
            memory = Memory(shape=unsigned(8), depth=16, init=[], attrs=attrs)
            m.submodules[name] = memory
            read = memory.read_port(domain=self.domain)
            for _ in range(2 if name == "first" else 1):
                write = memory.write_port()
                m.d.comb += [
                    write.addr.eq(self.address),
                    write.data.eq(self.data),
                    write.en.eq(self.write),
                ]
            m.d.comb += read.addr.eq(self.address)
            total = total + read.data
        m.d.comb += self.out.eq(total)
        return m


def masks(attrs, domain="sync"):
    text = free_collisions(rtlil.convert(TwoMemories(attrs, domain), name="two"))
    return sorted(re.findall(r"COLLISION_X_MASK (\S+)", text))


def test_a_marked_memory_is_free():
    assert masks({"no_rw_check": 1}) == ["1'0", "2'11"]


@pytest.mark.parametrize(("attrs", "domain"), [({}, "sync"), ({"no_rw_check": 1}, "comb")])
def test_others_stay(attrs, domain):
    assert masks(attrs, domain) == ["1'0", "2'00"]


def test_nothing_else_changes():
    before = rtlil.convert(TwoMemories({"no_rw_check": 1}, "sync"), name="two")
    assert free_collisions(before).replace("2'11", "2'00") == before
