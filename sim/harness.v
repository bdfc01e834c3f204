// Test bench around the emitted machine: a DRAM behind the AXI4 port, fault injection, trace files.
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
    output reg [15:0] violations /*verilator public_flat_rw*/,
    output wire [7:0] outstanding /*verilator public_flat_rw*/
);
    localparam BYTES = BUS_BITS / 8;
    localparam SIZE = $clog2(BYTES);
    localparam BEATS = DRAM_BYTES / BYTES;
    localparam INDEX_BITS = $clog2(BEATS);
    localparam [2:0] BEAT_SIZE = SIZE[2:0];
    localparam BANK_BITS = $clog2(BANKS + PLACES);
    localparam DEPTH = 8;

    wire awid, awvalid, wlast, wvalid, bready, arid, arvalid, rready;
    wire [31:0] awaddr, araddr;
    wire [7:0] awlen, arlen;
    wire [2:0] awsize, arsize;
    wire [1:0] awburst, arburst;
    wire [BUS_BITS-1:0] wdata;
    wire [BYTES-1:0] wstrb;
    wire awready, wready, arready;
    reg bid, bvalid, rid, rvalid, rlast;
    reg [1:0] bresp, rresp;
    reg [BUS_BITS-1:0] rdata;

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

    // Files ---------------------------------------------------------------------------------------

    reg [BUS_BITS-1:0] dram[0:BEATS-1];
    reg [8*1024-1:0] dram_path, trace_path, dump_path;
    integer dram_file, trace_file;

    initial begin
        trace_file = 0;
        if ($value$plusargs("trace=%s", trace_path)) trace_file = $fopen(trace_path, "w");
        if ($value$plusargs("dram=%s", dram_path)) begin
            dram_file = $fopen(dram_path, "rb");
            if ($fread(dram, dram_file) == 0) $display("harness: the DRAM file is empty");
            $fclose(dram_file);
        end
    end

    always @(posedge dump) begin
        if ($value$plusargs("dump=%s", dump_path))
            $writememh(dump_path, dram, dump_first, dump_last);
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

    // Pace: latency, bandwidth, pseudo-random stalls (a 32-bit xorshift, alike in all simulators) ---

    reg [31:0] now, noise;
    reg [4:0] credit;
    wire [31:0] noise_a = noise ^ (noise << 13);
    wire [31:0] noise_b = noise_a ^ (noise_a >> 17);
    wire beat = credit + {1'b0, bandwidth} >= 5'd10;
    wire go_aw = noise[7:0] >= stall;
    wire go_w = noise[12:5] >= stall && beat;
    wire go_b = noise[16:9] >= stall;
    wire go_ar = noise[22:15] >= stall;
    wire go_r = noise[31:24] >= stall && beat;

    always @(posedge clk) begin
        now <= now + 1;
        noise <= noise_b ^ (noise_b << 5);
        credit <= beat ? credit + {1'b0, bandwidth} - 5'd10 : credit + {1'b0, bandwidth};
        if (rst) begin
            now <= 0;
            noise <= 32'h2545F491;
            credit <= 0;
        end
    end

    function automatic [1:0] answer(input [31:0] address, input [7:0] length);
        reg [32:0] last;
        begin
            last = {1'b0, address} + (({25'd0, length} + 33'd1) << SIZE) - 33'd1;
            if (fault != 0 && address <= fault_last && last >= {1'b0, fault_first}) answer = fault;
            else answer = last >= DRAM_BYTES ? 2'd3 : 2'd0;
        end
    endfunction

    // Reads: up to DEPTH bursts, answered in order ---------------------------------------------------

    reg [31:0] ar_address[0:DEPTH-1];
    reg [31:0] ar_due[0:DEPTH-1];
    reg [7:0] ar_length[0:DEPTH-1];
    reg ar_id[0:DEPTH-1];
    reg [3:0] ar_head, ar_tail;
    reg [7:0] r_beat;
    wire [2:0] ar_at = ar_head[2:0];
    wire [3:0] ar_count = ar_tail - ar_head;
    wire [INDEX_BITS-1:0] r_index = ar_address[ar_at][SIZE+:INDEX_BITS]
        + {{INDEX_BITS - 8{1'b0}}, r_beat};
    wire [1:0] r_answer = answer(ar_address[ar_at], ar_length[ar_at]);
    wire r_last = r_beat == ar_length[ar_at];
    wire r_load = ar_count != 0 && now >= ar_due[ar_at] && r_answer != 2'd1 && go_r
        && (!rvalid || rready);
    assign arready = ar_count < DEPTH && go_ar;

    always @(posedge clk) begin
        if (arvalid && arready) begin
            ar_address[ar_tail[2:0]] <= araddr;
            ar_length[ar_tail[2:0]] <= arlen;
            ar_id[ar_tail[2:0]] <= arid;
            ar_due[ar_tail[2:0]] <= now + {16'd0, latency};
            ar_tail <= ar_tail + 4'd1;
        end
        if (rready) rvalid <= 0;
        if (r_load) begin
            rvalid <= 1;
            rlast <= r_last;
            rid <= ar_id[ar_at];
            rresp <= r_answer;
            rdata <= r_answer == 0 ? dram[r_index] : {BUS_BITS{1'b1}};
            r_beat <= r_last ? 8'd0 : r_beat + 8'd1;
            if (r_last) ar_head <= ar_head + 4'd1;
        end
        if (rst) begin
            ar_head <= 0;
            ar_tail <= 0;
            r_beat <= 0;
            rvalid <= 0;
        end
    end

    // Writes: data is taken once its burst is known; responses in order ------------------------------

    reg [31:0] aw_address[0:DEPTH-1];
    reg [31:0] aw_due[0:DEPTH-1];
    reg [7:0] aw_length[0:DEPTH-1];
    reg aw_id[0:DEPTH-1];
    reg [3:0] aw_tail, w_head, b_head;
    reg [7:0] w_beat;
    wire [2:0] w_at = w_head[2:0];
    wire [2:0] b_at = b_head[2:0];
    wire [3:0] aw_count = aw_tail - b_head;
    wire [INDEX_BITS-1:0] w_index = aw_address[w_at][SIZE+:INDEX_BITS]
        + {{INDEX_BITS - 8{1'b0}}, w_beat};
    wire [1:0] w_answer = answer(aw_address[w_at], aw_length[w_at]);
    wire [1:0] b_answer = answer(aw_address[b_at], aw_length[b_at]);
    assign awready = aw_count < DEPTH && go_aw;
    assign wready = w_head != aw_tail && go_w;

    integer lane;
    always @(posedge clk) begin
        if (awvalid && awready) begin
            aw_address[aw_tail[2:0]] <= awaddr;
            aw_length[aw_tail[2:0]] <= awlen;
            aw_id[aw_tail[2:0]] <= awid;
            aw_tail <= aw_tail + 4'd1;
        end
        if (wvalid && wready) begin
            if (w_answer == 0)
                for (lane = 0; lane < BYTES; lane = lane + 1)
                    if (wstrb[lane]) dram[w_index][8*lane+:8] <= wdata[8*lane+:8];
            w_beat <= wlast ? 8'd0 : w_beat + 8'd1;
            if (wlast) begin
                aw_due[w_at] <= now + {16'd0, latency};
                w_head <= w_head + 4'd1;
            end
        end
        if (bready) bvalid <= 0;
        if (b_head != w_head && now >= aw_due[b_at] && b_answer != 2'd1 && go_b
            && (!bvalid || bready)) begin
            bvalid <= 1;
            bid <= aw_id[b_at];
            bresp <= b_answer;
            b_head <= b_head + 4'd1;
        end
        if (rst) begin
            aw_tail <= 0;
            w_head <= 0;
            b_head <= 0;
            w_beat <= 0;
            bvalid <= 0;
        end
    end

    assign outstanding = {4'd0, ar_count} + {4'd0, aw_count} + {7'd0, rvalid} + {7'd0, bvalid};

    // Rules of AXI4 that the machine must keep -------------------------------------------------------

    reg aw_waits, w_waits, ar_waits;
    reg [39:0] aw_was, ar_was;
    reg [BUS_BITS+BYTES:0] w_was;
    wire [12:0] aw_end = {1'b0, awaddr[11:0]} + (({5'd0, awlen} + 13'd1) << SIZE);
    wire [12:0] ar_end = {1'b0, araddr[11:0]} + (({5'd0, arlen} + 13'd1) << SIZE);

    always @(posedge clk) begin
        aw_waits <= awvalid && !awready;
        w_waits <= wvalid && !wready;
        ar_waits <= arvalid && !arready;
        aw_was <= {awaddr, awlen};
        ar_was <= {araddr, arlen};
        w_was <= {wlast, wstrb, wdata};
        // valid stays, and so does what goes with it
        if (aw_waits && (!awvalid || aw_was != {awaddr, awlen})) violations[0] <= 1;
        if (ar_waits && (!arvalid || ar_was != {araddr, arlen})) violations[1] <= 1;
        if (w_waits && (!wvalid || w_was != {wlast, wstrb, wdata})) violations[2] <= 1;
        // full-width incrementing bursts, aligned, within 4 KiB pages
        if (awvalid && (awburst != 1 || awsize != BEAT_SIZE || awaddr[SIZE-1:0] != 0)) violations[3] <= 1;
        if (arvalid && (arburst != 1 || arsize != BEAT_SIZE || araddr[SIZE-1:0] != 0)) violations[4] <= 1;
        if (awvalid && aw_end > 13'd4096) violations[5] <= 1;
        if (arvalid && ar_end > 13'd4096) violations[6] <= 1;
        if (wvalid && wready && wlast != (w_beat == aw_length[w_at])) violations[7] <= 1;
        // nothing undefined on the control signals
        if ((^{awvalid, wvalid, arvalid, rready, bready}) === 1'bx) violations[8] <= 1;
        if (arvalid && (^{araddr, arlen}) === 1'bx) violations[9] <= 1;
        if (awvalid && (^{awaddr, awlen}) === 1'bx) violations[10] <= 1;
        if (wvalid && (^wdata) === 1'bx) violations[11] <= 1;
        if (rst) begin
            aw_waits <= 0;
            w_waits <= 0;
            ar_waits <= 0;
            violations <= 0;
        end
    end
endmodule

`default_nettype wire
