"""Places of keys and values, and origins of rows, between the units of the core."""

from typing import TYPE_CHECKING

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect

from rtl_gen.token_selector.origins import Origins
from spec.config import Config

if TYPE_CHECKING:
    from rtl_gen.core import Core

__all__ = ["PLACES", "QUERIES", "build_origins", "connect_places"]

PLACES, QUERIES = 0, 1
"""Clients of the origins: the epilogue's place reader, and who walks the pairs of queries."""


def build_origins(m: Module, core: "Core", config: Config) -> None:
    """Make `core.origins`, with two clients."""
    core.origins = Origins(
        rows=min(config.max_positions, config.max_tokens), moves=config.token_selector
    )
    m.submodules.origins = core.origins


def connect_places(m: Module, core: "Core", reader: wiring.PureInterface) -> None:
    """Connect the place reader, and what makes and moves origins and forgets places.

    reader : of token memory, for the list of places
    """
    groups, origins, issue = core.head_groups, core.origins, core.vector_issue
    connect(m, groups.place_read, reader)
    connect(m, groups.origin, origins.read[PLACES])
    m.d.comb += [
        groups.forget_places.eq(core.controller.forget),
        origins.live.eq(issue.sets_live),
        origins.tokens.eq(issue.tokens),
    ]
    if core.selects:
        m.d.comb += origins.moves.eq(core.select_tokens.origins)
