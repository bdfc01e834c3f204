// Test bench around the emitted machine: a DRAM (sim/axi_dram.v) behind the AXI4 port, trace files.
//
// Files come by plusarg:
//   +dram=FILE    contents of the DRAM from byte 0, each beat with its bytes in reverse order
//                 ($fread puts the first byte into the top bits)
//   +trace=FILE   one line for each write of the machine (absent: no trace), hexadecimal fields:
//                 T cycle pc address mask data | R cycle pc group bank address data |
//                 S cycle pc group mask data | P cycle pc group data (group: the head group),
//                 and I cycle image when `image` changes
//   +dump=FILE    $writememh of beats `dump_first` .. `dump_last` when `dump` rises
// Knobs are inputs, so that one run can go through several settings.
`timescale 1ns / 1ps
`default_nettype none

module harness #(
    parameter BUS_BITS = 64,
    parameter LANES = 8,
    parameter BANKS = 4,
    parameter GROUPS = 1,
    // 1: rows can go to all banks, which is bank number BANKS in the trace
    parameter PLACES = 0,
    parameter DRAM_BYTES = 1 << 24
) (
    input wire clk /*verilator public_flat_rw*/,
    input wire rst /*verilator public_flat_rw*/,

    input wire [11:0] s_axil_awaddr /*verilator public_flat_rw*/,
    input wire [2:0] s_axil_awprot /*verilator public_flat_rw*/,
    input wire s_axil_awvalid /*verilator public_flat_rw*/,
    output wire s_axil_awready /*verilator public_flat_rw*/,
    input wire [31:0] s_axil_wdata /*verilator public_flat_rw*/,
    input wire [3:0] s_axil_wstrb /*verilator public_flat_rw*/,
    input wire s_axil_wvalid /*verilator public_flat_rw*/,
    output wire s_axil_wready /*verilator public_flat_rw*/,
    output wire [1:0] s_axil_bresp /*verilator public_flat_rw*/,
    output wire s_axil_bvalid /*verilator public_flat_rw*/,
    input wire s_axil_bready /*verilator public_flat_rw*/,
    input wire [11:0] s_axil_araddr /*verilator public_flat_rw*/,
    input wire [2:0] s_axil_arprot /*verilator public_flat_rw*/,
    input wire s_axil_arvalid /*verilator public_flat_rw*/,
    output wire s_axil_arready /*verilator public_flat_rw*/,
    output wire [31:0] s_axil_rdata /*verilator public_flat_rw*/,
    output wire [1:0] s_axil_rresp /*verilator public_flat_rw*/,
    output wire s_axil_rvalid /*verilator public_flat_rw*/,
    input wire s_axil_rready /*verilator public_flat_rw*/,

    /* verilator lint_off SYMRSVDWORD */
    output wire interrupt /*verilator public_flat_rw*/,
    /* verilator lint_on SYMRSVDWORD */

    // cycles between the acceptance of a burst and its first beat or its response
    input wire [15:0] latency /*verilator public_flat_rw*/,
    // beats each data channel may move in every 10 cycles
    input wire [3:0] bandwidth /*verilator public_flat_rw*/,
    // chance in 256, for each channel and cycle, that the DRAM is not ready
    input wire [7:0] stall /*verilator public_flat_rw*/,
    // answers to bursts that touch fault_first .. fault_last: 0 normal, 1 none at all, 2 SLVERR,
    // 3 DECERR
    input wire [1:0] fault /*verilator public_flat_rw*/,
    input wire [31:0] fault_first /*verilator public_flat_rw*/,
    input wire [31:0] fault_last /*verilator public_flat_rw*/,
    input wire [15:0] image /*verilator public_flat_rw*/,
    input wire dump /*verilator public_flat_rw*/,
    input wire [31:0] dump_first /*verilator public_flat_rw*/,
    input wire [31:0] dump_last /*verilator public_flat_rw*/,
    // AXI rules that the machine broke, and bursts in flight
    output wire [15:0] violations /*verilator public_flat_rw*/,
    output wire [7:0] outstanding /*verilator public_flat_rw*/
);
    localparam BYTES = BUS_BITS / 8;
    localparam BANK_BITS = $clog2(BANKS + PLACES);

    wire awid, awvalid, wlast, wvalid, bready, arid, arvalid, rready;
    wire [31:0] awaddr, araddr;
    wire [7:0] awlen, arlen;
    wire [2:0] awsize, arsize;
    wire [1:0] awburst, arburst;
    wire [BUS_BITS-1:0] wdata;
    wire [BYTES-1:0] wstrb;
    wire awready, wready, arready;
    wire bid, bvalid, rid, rvalid, rlast;
    wire [1:0] bresp, rresp;
    wire [BUS_BITS-1:0] rdata;
    wire [31:0] now;

    wire token_valid;
    wire [15:0] token_pc;
    wire [17:0] token_address;
    wire [LANES-1:0] token_mask;
    wire [8*LANES-1:0] token_data;
    wire [GROUPS-1:0] row_valid, score_valid, prob_valid;
    wire [16*GROUPS-1:0] row_pc, score_pc, prob_pc;
    wire [18*GROUPS-1:0] row_address;
    wire [BANKS*GROUPS-1:0] score_mask;
    wire [BANK_BITS*GROUPS-1:0] row_bank;
    wire [8*LANES*GROUPS-1:0] row_data;
    wire [16*BANKS*GROUPS-1:0] score_data;
    wire [8*BANKS*GROUPS-1:0] prob_data;

    sievit_top top (
        .clk(clk),
        .rst(rst),
        .s_axil_awaddr(s_axil_awaddr),
        .s_axil_awprot(s_axil_awprot),
        .s_axil_awvalid(s_axil_awvalid),
        .s_axil_awready(s_axil_awready),
        .s_axil_wdata(s_axil_wdata),
        .s_axil_wstrb(s_axil_wstrb),
        .s_axil_wvalid(s_axil_wvalid),
        .s_axil_wready(s_axil_wready),
        .s_axil_bresp(s_axil_bresp),
        .s_axil_bvalid(s_axil_bvalid),
        .s_axil_bready(s_axil_bready),
        .s_axil_araddr(s_axil_araddr),
        .s_axil_arprot(s_axil_arprot),
        .s_axil_arvalid(s_axil_arvalid),
        .s_axil_arready(s_axil_arready),
        .s_axil_rdata(s_axil_rdata),
        .s_axil_rresp(s_axil_rresp),
        .s_axil_rvalid(s_axil_rvalid),
        .s_axil_rready(s_axil_rready),
        .m_axi_awid(awid),
        .m_axi_awaddr(awaddr),
        .m_axi_awlen(awlen),
        .m_axi_awsize(awsize),
        .m_axi_awburst(awburst),
        .m_axi_awvalid(awvalid),
        .m_axi_awready(awready),
        .m_axi_wdata(wdata),
        .m_axi_wstrb(wstrb),
        .m_axi_wlast(wlast),
        .m_axi_wvalid(wvalid),
        .m_axi_wready(wready),
        .m_axi_bid(bid),
        .m_axi_bresp(bresp),
        .m_axi_bvalid(bvalid),
        .m_axi_bready(bready),
        .m_axi_arid(arid),
        .m_axi_araddr(araddr),
        .m_axi_arlen(arlen),
        .m_axi_arsize(arsize),
        .m_axi_arburst(arburst),
        .m_axi_arvalid(arvalid),
        .m_axi_arready(arready),
        .m_axi_rid(rid),
        .m_axi_rdata(rdata),
        .m_axi_rresp(rresp),
        .m_axi_rlast(rlast),
        .m_axi_rvalid(rvalid),
        .m_axi_rready(rready),
        .interrupt(interrupt),
        .trace_token_valid(token_valid),
        .trace_token_pc(token_pc),
        .trace_token_address(token_address),
        .trace_token_mask(token_mask),
        .trace_token_data(token_data),
        .trace_row_valid(row_valid),
        .trace_row_pc(row_pc),
        .trace_row_bank(row_bank),
        .trace_row_address(row_address),
        .trace_row_data(row_data),
        .trace_score_valid(score_valid),
        .trace_score_pc(score_pc),
        .trace_score_mask(score_mask),
        .trace_score_data(score_data),
        .trace_prob_valid(prob_valid),
        .trace_prob_pc(prob_pc),
        .trace_prob_data(prob_data)
    );

    axi_dram #(
        .BUS_BITS(BUS_BITS),
        .DRAM_BYTES(DRAM_BYTES)
    ) memory (
        .clk(clk),
        .rst(rst),
        .awid(awid),
        .awaddr(awaddr),
        .awlen(awlen),
        .awsize(awsize),
        .awburst(awburst),
        .awvalid(awvalid),
        .awready(awready),
        .wdata(wdata),
        .wstrb(wstrb),
        .wlast(wlast),
        .wvalid(wvalid),
        .wready(wready),
        .bid(bid),
        .bresp(bresp),
        .bvalid(bvalid),
        .bready(bready),
        .arid(arid),
        .araddr(araddr),
        .arlen(arlen),
        .arsize(arsize),
        .arburst(arburst),
        .arvalid(arvalid),
        .arready(arready),
        .rid(rid),
        .rdata(rdata),
        .rresp(rresp),
        .rlast(rlast),
        .rvalid(rvalid),
        .rready(rready),
        .latency(latency),
        .bandwidth(bandwidth),
        .stall(stall),
        .fault(fault),
        .fault_first(fault_first),
        .fault_last(fault_last),
        .violations(violations),
        .outstanding(outstanding),
        .now(now)
    );

    // Files ---------------------------------------------------------------------------------------

    reg [8*1024-1:0] dram_path, trace_path, dump_path;
    integer dram_file, trace_file;

    initial begin
        trace_file = 0;
        if ($value$plusargs("trace=%s", trace_path)) trace_file = $fopen(trace_path, "w");
        if ($value$plusargs("dram=%s", dram_path)) begin
            dram_file = $fopen(dram_path, "rb");
            if ($fread(memory.dram, dram_file) == 0) $display("harness: the DRAM file is empty");
            $fclose(dram_file);
        end
    end

    always @(posedge dump) begin
        if ($value$plusargs("dump=%s", dump_path))
            $writememh(dump_path, memory.dram, dump_first, dump_last);
        if (trace_file != 0) $fflush(trace_file);
    end

    reg [15:0] image_traced;
    integer group;
    always @(posedge clk)
        if (trace_file != 0) begin
            if (!rst && image != image_traced) begin
                $fwrite(trace_file, "I %h %h\n", now, image);
                image_traced <= image;
            end
            if (rst) image_traced <= 0;
            if (token_valid)
                $fwrite(trace_file, "T %h %h %h %h %h\n", now, token_pc, token_address, token_mask,
                        token_data);
            for (group = 0; group < GROUPS; group = group + 1) begin
                if (row_valid[group])
                    $fwrite(trace_file, "R %h %h %h %h %h %h\n", now, row_pc[16*group+:16],
                            group[3:0], row_bank[BANK_BITS*group+:BANK_BITS],
                            row_address[18*group+:18], row_data[8*LANES*group+:8*LANES]);
                if (score_valid[group])
                    $fwrite(trace_file, "S %h %h %h %h %h\n", now, score_pc[16*group+:16],
                            group[3:0], score_mask[BANKS*group+:BANKS],
                            score_data[16*BANKS*group+:16*BANKS]);
                if (prob_valid[group])
                    $fwrite(trace_file, "P %h %h %h %h\n", now, prob_pc[16*group+:16],
                            group[3:0], prob_data[8*BANKS*group+:8*BANKS]);
            end
        end
endmodule

`default_nettype wire
