// A DRAM behind an AXI4 port, with latency, bandwidth, pseudo-random stalls and faults; it also checks
// AXI rules. Used by sim/harness.v and by the stand-alone testbench of `sievit emit --bundle`.
//
// Its words are `dram`, one beat each, which whoever holds the memory fills and reads by that name.
// Knobs are inputs, so that one run can go through several settings.
`timescale 1ns / 1ps
`default_nettype none

module axi_dram #(
    parameter BUS_BITS = 64,
    parameter DRAM_BYTES = 1 << 24
) (
    input wire clk,
    input wire rst,

    input wire awid,
    input wire [31:0] awaddr,
    input wire [7:0] awlen,
    input wire [2:0] awsize,
    input wire [1:0] awburst,
    input wire awvalid,
    output wire awready,
    input wire [BUS_BITS-1:0] wdata,
    input wire [BUS_BITS/8-1:0] wstrb,
    input wire wlast,
    input wire wvalid,
    output wire wready,
    output reg bid,
    output reg [1:0] bresp,
    output reg bvalid,
    input wire bready,
    input wire arid,
    input wire [31:0] araddr,
    input wire [7:0] arlen,
    input wire [2:0] arsize,
    input wire [1:0] arburst,
    input wire arvalid,
    output wire arready,
    output reg rid,
    output reg [BUS_BITS-1:0] rdata,
    output reg [1:0] rresp,
    output reg rlast,
    output reg rvalid,
    input wire rready,

    // cycles between the acceptance of a burst and its first beat or its response
    input wire [15:0] latency,
    // beats each data channel may move in every 10 cycles
    input wire [3:0] bandwidth,
    // chance in 256, for each channel and cycle, that the DRAM is not ready
    input wire [7:0] stall,
    // answers to bursts that touch fault_first .. fault_last: 0 normal, 1 none at all, 2 SLVERR,
    // 3 DECERR
    input wire [1:0] fault,
    input wire [31:0] fault_first,
    input wire [31:0] fault_last,

    // AXI rules that the master broke, bursts in flight, cycles since reset
    output reg [15:0] violations,
    output wire [7:0] outstanding,
    output reg [31:0] now
);
    localparam BYTES = BUS_BITS / 8;
    localparam SIZE = $clog2(BYTES);
    localparam BEATS = DRAM_BYTES / BYTES;
    localparam INDEX_BITS = $clog2(BEATS);
    localparam [2:0] BEAT_SIZE = SIZE[2:0];
    localparam DEPTH = 8;

    reg [BUS_BITS-1:0] dram[0:BEATS-1];

    // Pace: latency, bandwidth, pseudo-random stalls (a 32-bit xorshift, alike in all simulators) ---

    reg [31:0] noise;
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
