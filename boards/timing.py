"""Longest path of a placed design, from the delays a place-and-route tool writes as SDF."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Path", "Segment", "longest_between", "longest_path", "longest_paths", "unit_of"]

_INTERCONNECT = re.compile(r"\(INTERCONNECT (\S+) (\S+) \([-\d:]*?(-?\d+)\)")
_IOPATH = re.compile(r"\(IOPATH (\S+) (\S+) \([-\d:]*?(-?\d+)\)")
_SETUP = re.compile(r"\(SETUPHOLD \(posedge (\S+)\) \(\w+ (\S+)\) \([-\d:]*?(-?\d+)\)")
_INSTANCE = re.compile(r"\(INSTANCE (\S+)\)")
_CLOCK = re.compile(r"(CLK[0-3ABRW]?|WCK)$")
_CARRY = ("/FCI", "/FCO")


@dataclass(frozen=True)
class Segment:
    """One step of a path: through a cell (`net` False) or along a wire, in picoseconds."""

    source: str
    sink: str
    net: bool
    delay_ps: int


@dataclass(frozen=True)
class Path:
    """From a clock edge to the setup time of a register, slowest corner."""

    segments: tuple[Segment, ...]
    setup_ps: int

    @property
    def delay_ps(self) -> int:
        """Clock to output, cells, wires and setup."""
        return sum(segment.delay_ps for segment in self.segments) + self.setup_ps

    def lines(self) -> list[str]:
        """One readable line a segment, with its delay and the time since the clock edge.

        A carry chain is one line, that of its last cell.
        """
        lines, at, delay = [], 0, 0
        for segment, after in zip(self.segments, (*self.segments[1:], None), strict=True):
            at, delay = at + segment.delay_ps, delay + segment.delay_ps
            if after and segment.sink.endswith(_CARRY) and after.sink.endswith(_CARRY):
                continue
            kind = "net " if segment.net else "cell"
            lines.append(f"{at / 1000:6.2f} ns  +{delay / 1000:5.2f}  {kind}  {segment.sink}")
            delay = 0
        lines.append(f"{self.delay_ps / 1000:6.2f} ns  +{self.setup_ps / 1000:5.2f}  setup")
        return lines


class _Graph:
    """Delays between pins (`cell/port`), the pins that start paths and those that end them."""

    def __init__(self, sdf: Iterable[str]) -> None:
        self.arcs: dict[str, list[tuple[str, int, bool]]] = {}
        self.starts: list[tuple[str, str, int]] = []
        self.ends: dict[str, int] = {}
        cell = ""
        for raw in sdf:
            line = raw.replace("\\", "")
            if match := _INTERCONNECT.search(line):
                source, sink, delay = match.groups()
                self.arcs.setdefault(source, []).append((sink, int(delay), True))
            elif match := _IOPATH.search(line):
                source, sink, delay = match.groups()
                source, sink = source.strip("()").split()[-1], f"{cell}/{sink}"
                if _CLOCK.match(source):
                    self.starts.append((f"{cell}/{source}", sink, int(delay)))
                else:
                    self.arcs.setdefault(f"{cell}/{source}", []).append((sink, int(delay), False))
            elif match := _SETUP.search(line):
                pin = f"{cell}/{match[1]}"
                self.ends[pin] = max(self.ends.get(pin, 0), int(match[3]))
            elif match := _INSTANCE.search(line):
                cell = match[1]

    def order(self) -> list[str]:
        """Pins reachable from a clock edge, each after all that lead to it; loops are cut."""
        finished, seen = [], set()
        for _, start, _ in self.starts:
            if start in seen:
                continue
            seen.add(start)
            stack = [(start, iter(self.arcs.get(start, ())))]
            while stack:
                pin, rest = stack[-1]
                for sink, _, _ in rest:
                    if sink not in seen:
                        seen.add(sink)
                        stack.append((sink, iter(self.arcs.get(sink, ()))))
                        break
                else:
                    finished.append(pin)
                    stack.pop()
        return finished[::-1]


class _Longest:
    """For every register input the longest path that ends there."""

    def __init__(self, sdf: Iterable[str]) -> None:
        self.graph = graph = _Graph(sdf)
        self.arrival: dict[str, int] = {}
        self.before: dict[str, Segment] = {}
        arrival, before = self.arrival, self.before
        for clock, output, delay in graph.starts:
            if delay >= arrival.get(output, -1):
                arrival[output] = delay
                before[output] = Segment(clock, output, False, delay)
        place = {pin: index for index, pin in enumerate(graph.order())}
        for pin in place:
            for sink, delay, net in graph.arcs.get(pin, ()):
                total = arrival[pin] + delay
                if place[sink] > place[pin] and total > arrival.get(sink, -1):
                    arrival[sink] = total
                    before[sink] = Segment(pin, sink, net, delay)

    def ends(self) -> list[str]:
        """Register inputs, that of the longest path first."""
        ends = [end for end in self.graph.ends if end in self.arrival]
        return sorted(ends, key=lambda end: -(self.arrival[end] + self.graph.ends[end]))

    def path(self, end: str) -> Path:
        """The longest one to a register input."""
        segments, pin = [], end
        while pin in self.before:
            segments.append(self.before[pin])
            pin = self.before[pin].source
        return Path(tuple(reversed(segments)), self.graph.ends[end])


def longest_paths(sdf: Iterable[str]) -> list[Path]:
    """For every register input the longest path that ends there, the longest of all first.

    sdf : lines of an SDF file with INTERCONNECT, IOPATH and SETUPHOLD entries, in picoseconds
    """
    longest = _Longest(sdf)
    return [longest.path(end) for end in longest.ends()]


def longest_between(sdf: Iterable[str], count: int, above_ps: int = 0) -> list[tuple[Path, int]]:
    """The longest path between each two units, with how many paths there are between them.

    A unit is what its registers' names have in common, up to the last dot. Many paths of a design
    have the same cause; one of each kind says what there is to do.

    count : so many pairs of units, those with the longest paths
    above_ps : shorter paths are neither shown nor counted
    """
    longest = _Longest(sdf)
    pairs: dict[tuple[str, str], tuple[Path, int]] = {}
    for end in longest.ends():
        if longest.arrival[end] + longest.graph.ends[end] < above_ps:
            break
        path = longest.path(end)
        pair = (unit_of(path.segments[0].source), unit_of(end))
        first, times = pairs.get(pair, (path, 0))
        pairs[pair] = (first, times + 1)
    return list(pairs.values())[:count]


def unit_of(pin: str) -> str:
    """The unit of a pin of a flattened design: `a.b` of `a.b.name_cell/port`."""
    return pin.rpartition("/")[0].rpartition(".")[0]


def longest_path(sdf: Iterable[str]) -> Path | None:
    """The longest path from register to register, None if there is none."""
    return next(iter(longest_paths(sdf)), None)
