"""SIEVE instructions, and the loads of lists and places, while a program is being written."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from compiler.allocation import Allocation
from compiler.index_ring import LISTS, IndexItem
from compiler.layers import Attention, Block, Head, Linear, Role
from compiler.program import Schedule, transfer
from compiler.regions import Region
from spec.isa import SIEVE, Destination, Opcode, Window
from spec.semaphores import Semaphore

__all__ = ["ArraySieve"]

S = Semaphore


class ArraySieve:
    """What is in force, and which items are loaded and used up."""

    def __init__(self, out: Schedule, plan: Allocation) -> None:
        self.out, self.plan = out, plan
        self.in_force = dict.fromkeys(SIEVE.members, 0)
        self.items: Sequence[IndexItem] = plan.index
        self.loaded = self.used = 0
        """Items."""

    def linear(self, layer: Linear, block: Block) -> set[Semaphore]:
        """Set what a column block needs; what it waits for.

        What makes no difference to it stays as it is.
        """
        wanted = {"skip_zeros": int(layer.skip_zeros)}
        if not block.keeps:
            wanted["threshold"] = layer.threshold
        placed = layer.positions is not None
        first = placed and layer.role == Role.KEY and block is layer.blocks[0]
        if first or (layer.destination == Destination.ROWS and not block.keeps):
            wanted["placed"] = int(placed)
            if placed:
                wanted["positions"] = self.place(self.items[self.used]).base
            else:
                wanted["masked"] = 0
        self.want(layer.name, wanted, forget=first)
        return {S.TOKENS_READY} if first else set()

    def ends(self, layer: Linear, block: Block) -> set[Semaphore]:
        """What the last column block of V gives: the places are used up."""
        if layer.role != Role.VALUE or layer.positions is None or block is not layer.blocks[-1]:
            return set()
        return self.use()

    def head(self, layer: Attention, head: Head) -> tuple[set[Semaphore], set[Semaphore]]:
        """Set what a head needs; what it waits for, and what it gives beside other credits."""
        wanted = {
            "skip_zeros": int(layer.skip_zeros),
            "score_threshold": layer.score_threshold,
            "prob_threshold": layer.prob_threshold,
            "context_threshold": layer.context_threshold,
            "masked": int(head.lists is not None),
        }
        if head.lists is None:
            self.want(layer.name, wanted)
            return set(), set()
        behind = next(number for number, other in enumerate(layer.heads) if other is head)
        self.load(len(layer.heads) - behind - (self.loaded - self.used))
        ring = self.place(self.items[self.used])
        self.want(layer.name, {**wanted, "lists": ring.base, "list_words": ring.size})
        return {S.TOKENS_READY}, self.use()

    def nothing(self, name: str) -> None:
        """Drop nothing in the attention that follows."""
        names = ("skip_zeros", "masked", "score_threshold", "prob_threshold", "context_threshold")
        self.want(name, dict.fromkeys(names, 0))

    def want(self, name: str, wanted: Mapping[str, int], forget: bool = False) -> None:
        """Append a SIEVE if something else is in force."""
        fields = {**self.in_force, **wanted}
        if fields != self.in_force or forget:
            self.out.add(name, Opcode.SIEVE, {**fields, "forget": int(forget)})
            self.in_force = fields

    def use(self) -> set[Semaphore]:
        """The oldest item is used up."""
        self.used += 1
        return {S.TOKENS_FREE} if self.items[self.used - 1].frees else set()

    def load(self, count: int) -> None:
        """Load the next `count` items, but none for which there is no room yet."""
        while count and self.loaded < len(self.items):
            item = self.items[self.loaded]
            if item.after > self.used:
                return
            self.out.add(
                item.name,
                Opcode.LOAD_TOKENS,
                transfer(self.place(item), Window.WEIGHTS, item.offset),
                wait=[S.TOKENS_FREE] if item.waits else [],
                signal=[S.TOKENS_READY],
            )
            self.loaded += 1
            count -= 1

    def place(self, item: IndexItem) -> Region:
        """The words of an item."""
        ring = self.plan.regions[LISTS]
        return replace(ring, base=ring.base + item.row, rows=1, stride=item.size)
