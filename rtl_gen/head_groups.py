"""The head groups side by side; to the rest of the machine they look like one."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl_gen.head_group import ERRORS, HeadGroup
from rtl_gen.interfaces import GIVE, GIVE_TOKEN
from rtl_gen.sequencer.array_step import array_signature
from rtl_gen.sequencer.credit_join import CreditJoin
from spec.formats import SCORE
from spec.isa import (
    FULLY_CONNECTED,
    HEAD_SCALE,
    HEAD_SCALES,
    PARTIAL_WORDS,
    Destination,
    ScoreUse,
)

__all__ = ["HeadGroups"]

_PER_GROUP = ("residual", "partial", "token_write", "pc", "trace_row", "trace_score", "trace_prob")
_SUMS = ("rows_read", "residual_saturations", "logit_saturations")


class HeadGroups(wiring.Component):
    """Gives every step, command and weight to its groups, and takes their results together.

    One group is connected straight through. Several take the same steps: the array of none moves
    on where another one's is frozen. A command goes to the groups that its instruction needs
    (`next_groups`), each with its own place in token memory; where these are others than those of
    the instruction before, all that has been begun is written first. Credits are given when the
    last group has written.

    Members
    -------
    As those of `HeadGroup` (`group` holds its other parameters), with one residual, partial,
    token_write, pc and trace_* for each group; with several groups also:
    fired : a step is taken in this cycle, see `ArrayController`
    groups, next_groups, group_words, scales : see `ArrayController`
    row_group, column_group : see `Loader`
    Places (`origin`, `place_read`, `lookup`) and a packed probability ring (`prob_index`,
    `zero_probs`) are there with one group only.
    With `cls_scores`, `collected` is the sum of all groups' scores, two cycles after the question.
    """

    def __init__(
        self, *, banks: int, lanes: int, prob_words: int, head_groups: int, **group: int
    ) -> None:
        self._head_groups = head_groups
        self._banks, self._lanes = banks, lanes
        self._groups = [
            HeadGroup(banks=banks, lanes=lanes, prob_words=prob_words, **group)
            for _ in range(head_groups)
        ]
        members = dict(self._groups[0].signature.members)
        pairs = self._groups[0].pe_array.pairs
        members["control"] = In(array_signature(banks, lanes, head_groups, pairs))
        members.pop("forget", None)
        for name in _PER_GROUP:
            members[name] = members[name].array(head_groups)
        self.thresholds = self._groups[0].thresholds
        self._sums = (*_SUMS, "values_cleared") if self.thresholds else _SUMS
        for name in self._sums:
            most = (1 << len(getattr(self._groups[0], name))) - 1
            members[name] = Out(range(head_groups * most + 1))
        if head_groups > 1:
            members |= {
                "fired": In(1),
                "groups": In(head_groups),
                "next_groups": In(head_groups),
                "group_words": In(FULLY_CONNECTED["group_words"].shape),
                "scales": In(HEAD_SCALES),
                "row_group": In(range(head_groups)),
                "column_group": In(range(head_groups)),
            }
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        for number, group in enumerate(self._groups):
            m.submodules[f"group_{number}"] = group
            for name in ("residual", "partial", "token_write"):
                connect(m, getattr(group, name), flipped(getattr(self, name)[number]))
            for name in ("pc", "trace_row", "trace_score", "trace_prob"):
                m.d.comb += getattr(self, name)[number].eq(getattr(group, name))
            m.d.comb += [group.array_pc.eq(self.array_pc), group.load_pc.eq(self.load_pc)]
        for name in self._sums:
            m.d.comb += getattr(self, name).eq(sum(getattr(group, name) for group in self._groups))
        for name, all_of in (
            ("idle", True),
            ("epilogue_idle", True),
            ("blocked_scores", False),
            ("blocked_accumulators", False),
        ):
            bits = Cat(getattr(group, name) for group in self._groups)
            m.d.comb += getattr(self, name).eq(bits.all() if all_of else bits.any())
        if self._groups[0].cls_scores:
            self._connect_scores(m)
        if self._head_groups == 1:
            self._connect_one(m, self._groups[0])
        else:
            self._connect_steps(m)
            self._connect_softmax(m)
            self._connect_commands(m)
            self._connect_loads(m)
            for number in range(len(ERRORS)):
                for group in reversed(self._groups):
                    with m.If(group.errors[number].valid):
                        m.d.comb += self.errors[number].eq(group.errors[number])
        return m

    def _connect_scores(self, m: Module) -> None:
        """Add up what the groups have collected, a cycle later.

        Groups that an instruction leaves out forget their scores when it sets those of the others.
        """
        total: Value = Const(0, SCORE.bits)
        for group in self._groups:
            total = _saturated(total + group.collected, SCORE.bits)
            m.d.comb += [
                group.collect_enable.eq(self.collect_enable),
                group.collect_token.eq(self.collect_token),
            ]
        m.d.sync += self.collected.eq(total)
        m.d.comb += self.collecting.eq(Cat(group.collecting for group in self._groups).any())
        if self._head_groups > 1:
            command = self.softmax_command
            sets = command.valid & command.ready & (command.p.scores == ScoreUse.SET)
            for number, group in enumerate(self._groups):
                m.d.comb += group.forget.eq(sets & ~self.next_groups[number])

    def _connect_one(self, m: Module, group: HeadGroup) -> None:
        """One group: straight through."""
        for name in ("epilogue_command", "softmax_command", "reserve", "row_load", "column_load"):
            connect(m, flipped(getattr(self, name)), getattr(group, name))
        connect(m, group.prob_rows, flipped(self.prob_rows))
        connect(m, flipped(self.control), group.control)
        for name in ("prob_enable", "prob_address", "release", "release_words"):
            m.d.comb += getattr(group, name).eq(getattr(self, name))
        for name in ("give", "give_token", "errors"):
            m.d.comb += getattr(self, name).eq(getattr(group, name))
        if group.softmax.index_bits:
            m.d.comb += [
                self.prob_index.eq(group.prob_index),
                self.zero_probs.eq(group.zero_probs),
            ]
        if group.max_positions:
            for name in ("origin", "place_read"):
                connect(m, getattr(group, name), flipped(getattr(self, name)))
            connect(m, flipped(self.lookup), group.lookup)
            m.d.comb += [
                self.place_pc.eq(group.place_pc),
                group.forget_places.eq(self.forget_places),
            ]

    def _connect_steps(self, m: Module) -> None:
        """Each step to the groups at work, when no array is frozen."""
        banks, lanes, control = self._banks, self._lanes, self.control
        stepping = Signal(self._head_groups)
        """`groups`, beside the operands."""
        with m.If(self.fired):
            m.d.sync += stepping.eq(self.groups)
        m.d.comb += control.advance.eq(Cat(group.control.advance for group in self._groups).all())
        for number, group in enumerate(self._groups):
            own = group.control
            shared = ("row_address", "row_valid", "reduce", "first", "last", "row_last")
            for name in (*shared, "bank_valid"):
                m.d.comb += getattr(own, name).eq(getattr(control, name))
            m.d.comb += [
                own.row_enable.eq(control.row_enable & self.groups[number]),
                own.step_valid.eq(control.step_valid & stepping[number] & control.advance),
            ]
            for bank in range(banks):
                at = number * banks + bank
                m.d.comb += [
                    own.scalars[bank].eq(control.scalars[at]),
                    control.prob_data[at].eq(own.prob_data[bank]),
                ]
            for lane in range(lanes):
                m.d.comb += own.vector[lane].eq(control.vector[number * lanes + lane])

    def _connect_softmax(self, m: Module) -> None:
        """Score rows begin, and probability rows are used, in all groups at work together.

        The rings of a group that was not always at work are at another place than group 0's.
        """
        ready, valid = [], []
        for number, group in enumerate(self._groups):
            works = self.groups[number]
            behind = Signal(len(self.prob_address), name=f"behind_{number}")
            if number:  # group 0 is always at work
                with m.If(self.release & ~works):
                    m.d.sync += behind.eq(behind + self.release_words)
            ready.append(group.reserve.ready | ~works)
            valid.append(group.prob_rows.valid | ~works)
            m.d.comb += [
                group.prob_enable.eq(self.prob_enable & works),
                group.prob_address.eq(self.prob_address - behind),
                group.release.eq(self.release & works),
                group.release_words.eq(self.release_words),
                group.reserve.payload.eq(self.reserve.payload),
                group.reserve.valid.eq(self.reserve.valid & self.reserve.ready & works),
                group.prob_rows.ready.eq(self.prob_rows.ready & self.prob_rows.valid & works),
            ]
        m.d.comb += [
            self.reserve.ready.eq(Cat(ready).all()),
            self.prob_rows.valid.eq(Cat(valid).all()),
            self.prob_rows.payload.eq(self._groups[0].prob_rows.payload),
        ]

    def _connect_commands(self, m: Module) -> None:
        """Commands to the groups that the next instruction needs, and their credits back."""
        wanted, at_work = self.next_groups, Signal(self._head_groups)
        same = Signal()
        m.d.comb += same.eq((wanted == at_work) | self.epilogue_idle)
        with m.If(self.epilogue_command.valid & self.epilogue_command.ready):
            m.d.sync += at_work.eq(wanted)
        for name, allowed in (("epilogue_command", same), ("softmax_command", 1)):
            command = getattr(self, name)
            others = [getattr(group, name) for group in self._groups]
            ready = Cat(each.ready | ~wanted[number] for number, each in enumerate(others)).all()
            m.d.comb += command.ready.eq(ready & allowed)
            for number, each in enumerate(others):
                m.d.comb += [
                    each.payload.eq(command.payload),
                    each.valid.eq(command.valid & command.ready & wanted[number]),
                ]
        for number, group in enumerate(self._groups[1:], start=1):
            self._place(m, group, number)
            for field in HEAD_SCALE:
                m.d.comb += group.softmax_command.p[field].eq(self.scales[f"{field}_{number}"])
        for name, shape in (("give", GIVE), ("give_token", GIVE_TOKEN)):
            join = CreditJoin(shape=shape, head_groups=self._head_groups)
            m.submodules[name] = join
            m.d.comb += [join.groups.eq(at_work), getattr(self, name).eq(join.o)]
            for number, group in enumerate(self._groups):
                m.d.comb += join.i[number].eq(getattr(group, name))

    def _place(self, m: Module, group: HeadGroup, number: int) -> None:
        """Where a group writes and finds its sums; beyond 16 bits at the last address."""
        command, own = self.epilogue_command.p, group.epilogue_command.p
        sums = number * PARTIAL_WORDS * command.rows
        added = Mux(command.broadcast, number * PARTIAL_WORDS, sums)
        step = Signal(4 + PARTIAL_WORDS.bit_length() + len(command.rows), name=f"step_{number}")
        with m.If(command.attention):
            m.d.comb += step.eq(number * command.head_words)
        with m.Elif(command.destination == Destination.PARTIAL):
            m.d.comb += step.eq(sums)
        with m.Elif(command.destination != Destination.ROWS):
            m.d.comb += step.eq(number * self.group_words)
        m.d.comb += [
            own.target.eq(_saturated(command.target + step, len(command.target))),
            own.partial.eq(_saturated(command.partial + added, len(command.partial))),
        ]

    def _connect_loads(self, m: Module) -> None:
        """The loader's rows and tables to the group that they are for."""
        for name, chosen in (("row_load", self.row_group), ("column_load", self.column_group)):
            load = getattr(self, name)
            targets = [getattr(group, name) for group in self._groups]
            m.d.comb += load.ready.eq(Array(target.ready for target in targets)[chosen])
            for number, target in enumerate(targets):
                m.d.comb += [
                    target.payload.eq(load.payload),
                    target.valid.eq(load.valid & (chosen == number)),
                ]


def _saturated(value: Value, bits: int) -> Value:
    """A sum of unsigned values in `bits` bits; all set if it has more."""
    return Mux(value[bits:].any(), (1 << bits) - 1, value[:bits])
