"""Walks and steps between the array controller and their sources."""

from typing import TYPE_CHECKING

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import connect

from rtl_gen.core_places import QUERIES
from rtl_gen.index_engine.walk_sources import WalkSources
from spec.config import Config

if TYPE_CHECKING:
    from rtl_gen.core import Core

__all__ = ["build_sources", "connect_lists", "connect_walks"]


def build_sources(m: Module, core: "Core", config: Config) -> None:
    """Make `core.walk_sources`, for a machine with a packed probability ring."""
    core.walk_sources = WalkSources(
        banks=config.banks,
        prob_words=config.prob_words,
        max_head_words=config.max_head_words,
        pairs=config.attention_masks,
        skip_zeros=config.zero_skip,
    )
    m.submodules.walk_sources = core.walk_sources


def connect_walks(m: Module, core: "Core") -> None:
    """Connect controller, index engine and, if the probability ring is packed, other sources."""
    controller, engine, groups = core.controller, core.index_engine, core.head_groups
    if not core.packs:
        connect(m, controller.walk, engine.walk)
        connect(m, engine.step, controller.step)
        for name in ("prob_enable", "prob_address"):
            m.d.comb += getattr(groups, name).eq(getattr(controller, name))
        return
    sources = core.walk_sources
    connect(m, controller.walk, sources.walk)
    connect(m, sources.rows_walk, engine.walk)
    connect(m, engine.step, sources.rows_step)
    connect(m, sources.step, controller.step)
    m.d.comb += [
        groups.prob_enable.eq(controller.prob_enable | sources.prob_enable),
        groups.prob_address.eq(
            Mux(sources.prob_enable, sources.prob_address, controller.prob_address)
        ),
        sources.probs.eq(groups.control.prob_data),
        sources.prob_index.eq(groups.prob_index),
    ]


def connect_lists(m: Module, core: "Core", reader: wiring.PureInterface) -> None:
    """Connect who walks the lists; `reader` : of token memory."""
    controller = core.controller
    connect(m, controller.list_read, reader)
    connect(m, controller.origin, core.origins.read[QUERIES])
    connect(m, controller.lookup, core.head_groups.lookup)
    connect(m, controller.entries, core.walk_sources.entries)
