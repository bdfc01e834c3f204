"""What memories promise of a read and a write of one word in the same cycle, in RTLIL."""

import re

__all__ = ["free_collisions"]

_MODULE = re.compile(r"^module .*?^end$", re.MULTILINE | re.DOTALL)
_MEMORY = re.compile(
    r"^  attribute \\no_rw_check 1\n(?:  attribute .*\n)*  memory .* (\\\S+)$", re.M
)
_READ = re.compile(r"^  cell \$memrd_v2 .*?^  end$", re.MULTILINE | re.DOTALL)
_MASK = re.compile(r"(parameter \\COLLISION_X_MASK )(\d+)'0+$", re.MULTILINE)


def free_collisions(rtlil: str) -> str:
    """Let the read ports of memories marked `no_rw_check` give anything in such a cycle.

    Yosys reads that attribute in Verilog only. In RTLIL each read port has a mask for it, which
    Amaranth leaves at 0, so that logic around each block RAM would keep the old word.
    """
    return _MODULE.sub(_module, rtlil)


def _module(found: re.Match[str]) -> str:
    text = found.group()
    free = {f'"{name}"' for name in _MEMORY.findall(text)}
    return _READ.sub(lambda cell: _read(cell.group(), free), text) if free else text


def _read(cell: str, free: set[str]) -> str:
    memory = re.search(r'parameter \\MEMID ("[^"]*")', cell)
    clocked = re.search(r"parameter \\CLK_ENABLE (?:1'1|1)$", cell, re.MULTILINE)
    if memory is None or clocked is None or memory.group(1).replace("\\\\", "\\") not in free:
        return cell
    return _MASK.sub(lambda mask: f"{mask[1]}{mask[2]}'{'1' * int(mask[2])}", cell)
