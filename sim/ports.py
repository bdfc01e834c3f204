"""Ports of the emitted machine `sievit_top`, as the harness and the stand-in machine need them."""

from spec.config import Config

__all__ = ["top_ports"]


def top_ports(config: Config) -> list[tuple[str, int, bool]]:
    """Name, width and whether it is an output, for every port of `sievit_top`."""
    bus, banks, lanes = config.bus_bits, config.banks, config.lanes
    groups = config.head_groups
    inputs = {
        "clk": 1,
        "rst": 1,
        "s_axil_awaddr": 12,
        "s_axil_awprot": 3,
        "s_axil_awvalid": 1,
        "s_axil_wdata": 32,
        "s_axil_wstrb": 4,
        "s_axil_wvalid": 1,
        "s_axil_bready": 1,
        "s_axil_araddr": 12,
        "s_axil_arprot": 3,
        "s_axil_arvalid": 1,
        "s_axil_rready": 1,
        "m_axi_awready": 1,
        "m_axi_wready": 1,
        "m_axi_bid": 1,
        "m_axi_bresp": 2,
        "m_axi_bvalid": 1,
        "m_axi_arready": 1,
        "m_axi_rid": 1,
        "m_axi_rdata": bus,
        "m_axi_rresp": 2,
        "m_axi_rlast": 1,
        "m_axi_rvalid": 1,
    }
    outputs = {
        "s_axil_awready": 1,
        "s_axil_wready": 1,
        "s_axil_bresp": 2,
        "s_axil_bvalid": 1,
        "s_axil_arready": 1,
        "s_axil_rdata": 32,
        "s_axil_rresp": 2,
        "s_axil_rvalid": 1,
        "m_axi_awid": 1,
        "m_axi_awaddr": 32,
        "m_axi_awlen": 8,
        "m_axi_awsize": 3,
        "m_axi_awburst": 2,
        "m_axi_awvalid": 1,
        "m_axi_wdata": bus,
        "m_axi_wstrb": bus // 8,
        "m_axi_wlast": 1,
        "m_axi_wvalid": 1,
        "m_axi_bready": 1,
        "m_axi_arid": 1,
        "m_axi_araddr": 32,
        "m_axi_arlen": 8,
        "m_axi_arsize": 3,
        "m_axi_arburst": 2,
        "m_axi_arvalid": 1,
        "m_axi_rready": 1,
        "interrupt": 1,
        "trace_token_valid": 1,
        "trace_token_pc": 16,
        "trace_token_address": 18,
        "trace_token_mask": lanes,
        "trace_token_data": 8 * lanes,
        "trace_row_valid": groups,
        "trace_row_pc": groups * 16,
        "trace_row_bank": groups * (banks - 1 + config.attention_masks).bit_length(),
        "trace_row_address": groups * 18,
        "trace_row_data": groups * 8 * lanes,
        "trace_score_valid": groups,
        "trace_score_pc": groups * 16,
        "trace_score_mask": groups * banks,
        "trace_score_data": groups * 16 * banks,
        "trace_prob_valid": groups,
        "trace_prob_pc": groups * 16,
        "trace_prob_data": groups * 8 * banks,
    }
    return [(name, width, False) for name, width in inputs.items()] + [
        (name, width, True) for name, width in outputs.items()
    ]
