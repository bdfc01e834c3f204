// Stand-alone test of module sievit_top: images in, logits out, every logit compared.
//
// Plain Verilog, for any simulator; needs no Python. Files:
//   dram.hex      what the DRAM holds at first, one beat a line: program, weights, all images
//   expected.hex  logits of all images, int16, one a line, computed by the integer golden model
// It checks ID, VERSION and configuration digest, runs the images one after the other, waits for
// the interrupt, and ends with PASS, or with FAIL and an exit status that is not 0.
//
// Plusargs: +images=N (how many, from the first), +latency=N, +bandwidth=N, +stall=N (the DRAM's
// pace, see axi_dram), +limit=N (cycles after which a run counts as hung), +dram=FILE,
// +expected=FILE.
`timescale 1ns / 1ps
`default_nettype none

module tb_sievit #(
    parameter BUS_BITS = 64,
    parameter DRAM_BYTES = 1 << 24,
    // of dram.hex
    parameter BEATS = 1,
    parameter IMAGES = 1,
    parameter CLASSES = 1,
    parameter LATENCY = 64,
    parameter BANDWIDTH = 9,
    parameter LIMIT = 1000000,
    parameter WATCHDOG_CYCLES = 1000000,
    // what the identity registers must hold
    parameter ID_VALUE = 0,
    parameter VERSION_VALUE = 0,
    parameter DIGEST_LOW_VALUE = 0,
    parameter DIGEST_HIGH_VALUE = 0,
    // byte addresses of registers
    parameter ID = 0,
    parameter VERSION = 0,
    parameter CONFIG_DIGEST_LOW = 0,
    parameter CONFIG_DIGEST_HIGH = 0,
    parameter CONTROL = 0,
    parameter STATUS = 0,
    parameter ERROR_CODE = 0,
    parameter ERROR_PC = 0,
    parameter INTERRUPT_ENABLE = 0,
    parameter WATCHDOG = 0,
    parameter CYCLES = 0,
    parameter PROGRAM_BASE = 0,
    parameter PROGRAM_LIMIT = 0,
    parameter WEIGHTS_BASE = 0,
    parameter WEIGHTS_LIMIT = 0,
    parameter INPUT_BASE = 0,
    parameter INPUT_LIMIT = 0,
    parameter SCRATCH_BASE = 0,
    parameter SCRATCH_LIMIT = 0,
    parameter RESULT_BASE = 0,
    parameter RESULT_LIMIT = 0,
    // bits of CONTROL and STATUS
    parameter START = 0,
    parameter CLEAR = 0,
    parameter DONE = 0,
    parameter DRAINING = 0,
    // windows in the DRAM: first byte and bytes; inputs of further images follow at INPUT_STEP
    parameter PROGRAM_AT = 0,
    parameter PROGRAM_BYTES = 0,
    parameter WEIGHTS_AT = 0,
    parameter WEIGHTS_BYTES = 0,
    parameter SCRATCH_AT = 0,
    parameter SCRATCH_BYTES = 0,
    parameter RESULT_AT = 0,
    parameter RESULT_BYTES = 0,
    parameter INPUT_AT = 0,
    parameter INPUT_BYTES = 0,
    parameter INPUT_STEP = 0
);
    localparam BYTES = BUS_BITS / 8;
    localparam PATIENCE = 10000;

    reg clk, rst;
    initial clk = 0;
    always #5 clk = !clk;

    reg [11:0] awaddr, araddr;
    reg awvalid, wvalid, bready, arvalid, rready;
    reg [31:0] wdata;
    wire awready, wready, bvalid, arready, rvalid, done;
    wire [1:0] bresp, rresp;
    wire [31:0] rdata;

    wire m_awid, m_awvalid, m_awready, m_wlast, m_wvalid, m_wready, m_bid, m_bvalid, m_bready;
    wire m_arid, m_arvalid, m_arready, m_rid, m_rlast, m_rvalid, m_rready;
    wire [31:0] m_awaddr, m_araddr;
    wire [7:0] m_awlen, m_arlen;
    wire [2:0] m_awsize, m_arsize;
    wire [1:0] m_awburst, m_arburst, m_bresp, m_rresp;
    wire [BUS_BITS-1:0] m_wdata, m_rdata;
    wire [BYTES-1:0] m_wstrb;

    // The trace stays open
    // verilator lint_off PINMISSING
    sievit_top machine (
        .clk(clk),
        .rst(rst),
        .s_axil_awaddr(awaddr),
        .s_axil_awprot(3'd0),
        .s_axil_awvalid(awvalid),
        .s_axil_awready(awready),
        .s_axil_wdata(wdata),
        .s_axil_wstrb(4'hF),
        .s_axil_wvalid(wvalid),
        .s_axil_wready(wready),
        .s_axil_bresp(bresp),
        .s_axil_bvalid(bvalid),
        .s_axil_bready(bready),
        .s_axil_araddr(araddr),
        .s_axil_arprot(3'd0),
        .s_axil_arvalid(arvalid),
        .s_axil_arready(arready),
        .s_axil_rdata(rdata),
        .s_axil_rresp(rresp),
        .s_axil_rvalid(rvalid),
        .s_axil_rready(rready),
        .m_axi_awid(m_awid),
        .m_axi_awaddr(m_awaddr),
        .m_axi_awlen(m_awlen),
        .m_axi_awsize(m_awsize),
        .m_axi_awburst(m_awburst),
        .m_axi_awvalid(m_awvalid),
        .m_axi_awready(m_awready),
        .m_axi_wdata(m_wdata),
        .m_axi_wstrb(m_wstrb),
        .m_axi_wlast(m_wlast),
        .m_axi_wvalid(m_wvalid),
        .m_axi_wready(m_wready),
        .m_axi_bid(m_bid),
        .m_axi_bresp(m_bresp),
        .m_axi_bvalid(m_bvalid),
        .m_axi_bready(m_bready),
        .m_axi_arid(m_arid),
        .m_axi_araddr(m_araddr),
        .m_axi_arlen(m_arlen),
        .m_axi_arsize(m_arsize),
        .m_axi_arburst(m_arburst),
        .m_axi_arvalid(m_arvalid),
        .m_axi_arready(m_arready),
        .m_axi_rid(m_rid),
        .m_axi_rdata(m_rdata),
        .m_axi_rresp(m_rresp),
        .m_axi_rlast(m_rlast),
        .m_axi_rvalid(m_rvalid),
        .m_axi_rready(m_rready),
        .interrupt(done)
    );
    // verilator lint_on PINMISSING

    reg [15:0] latency;
    reg [3:0] bandwidth;
    reg [7:0] stall;
    wire [15:0] violations;
    wire [7:0] outstanding;
    wire [31:0] now;

    axi_dram #(
        .BUS_BITS(BUS_BITS),
        .DRAM_BYTES(DRAM_BYTES)
    ) memory (
        .clk(clk),
        .rst(rst),
        .awid(m_awid),
        .awaddr(m_awaddr),
        .awlen(m_awlen),
        .awsize(m_awsize),
        .awburst(m_awburst),
        .awvalid(m_awvalid),
        .awready(m_awready),
        .wdata(m_wdata),
        .wstrb(m_wstrb),
        .wlast(m_wlast),
        .wvalid(m_wvalid),
        .wready(m_wready),
        .bid(m_bid),
        .bresp(m_bresp),
        .bvalid(m_bvalid),
        .bready(m_bready),
        .arid(m_arid),
        .araddr(m_araddr),
        .arlen(m_arlen),
        .arsize(m_arsize),
        .arburst(m_arburst),
        .arvalid(m_arvalid),
        .arready(m_arready),
        .rid(m_rid),
        .rdata(m_rdata),
        .rresp(m_rresp),
        .rlast(m_rlast),
        .rvalid(m_rvalid),
        .rready(m_rready),
        .latency(latency),
        .bandwidth(bandwidth),
        .stall(stall),
        .fault(2'd0),
        .fault_first(32'd0),
        .fault_last(32'd0),
        .violations(violations),
        .outstanding(outstanding),
        .now(now)
    );

    // Registers. Signals change at the falling edge and are looked at just before the rising one ----

    integer waited;
    reg aw_taken, w_taken;

    task patience;
        begin
            waited = waited + 1;
            if (waited > PATIENCE) begin
                $display("FAIL: no answer of a register for %0d cycles", PATIENCE);
                $fatal(1);
            end
        end
    endtask

    task write(input integer address, input [31:0] value);
        begin
            waited = 0;
            @(negedge clk);
            awaddr = address[11:0];
            wdata = value;
            awvalid = 1;
            wvalid = 1;
            bready = 1;
            while (awvalid || wvalid) begin
                #4 aw_taken = awvalid && awready;
                w_taken = wvalid && wready;
                @(negedge clk);
                if (aw_taken) awvalid = 0;
                if (w_taken) wvalid = 0;
                patience;
            end
            while (!bvalid) begin
                @(negedge clk);
                patience;
            end
            if (bresp != 0) begin
                $display("FAIL: a write to register 0x%0h was answered with %0d", address, bresp);
                $fatal(1);
            end
            @(negedge clk) bready = 0;
        end
    endtask

    task read(input integer address, output [31:0] value);
        begin
            waited = 0;
            @(negedge clk);
            araddr = address[11:0];
            arvalid = 1;
            rready = 1;
            while (arvalid) begin
                #4 aw_taken = arready;
                @(negedge clk);
                if (aw_taken) arvalid = 0;
                patience;
            end
            while (!rvalid) begin
                @(negedge clk);
                patience;
            end
            value = rdata;
            if (rresp != 0) begin
                $display("FAIL: a read of register 0x%0h was answered with %0d", address, rresp);
                $fatal(1);
            end
            @(negedge clk) rready = 0;
        end
    endtask

    reg [31:0] got;

    // `name` in eight characters at most
    task identity(input [63:0] name, input integer address, input [31:0] wanted);
        begin
            read(address, got);
            if (got !== wanted) begin
                $display("FAIL: %0s: got %h, expected %h", name, got, wanted);
                $fatal(1);
            end
        end
    endtask

    // The test -------------------------------------------------------------------------------------

    reg [8*1024-1:0] dram_path, expected_path;
    reg [15:0] expected[0:IMAGES*CLASSES-1];
    reg [15:0] logit, wanted;
    reg [31:0] code, pc, cycles;
    integer images, limit, image, label, address, differing, ran;

    // Bit at which the logit of a class begins in its beat
    function integer bit_of(input integer which);
        bit_of = 8 * ((RESULT_AT + 2 * which) % BYTES);
    endfunction

    task run;
        begin
            // A result that is not written must not pass: every logit is wrong at first
            for (label = 0; label < CLASSES; label = label + 1) begin
                address = (RESULT_AT + 2 * label) / BYTES;
                memory.dram[address][bit_of(label)+:16] = ~expected[image*CLASSES+label];
            end
            write(PROGRAM_BASE, PROGRAM_AT);
            write(PROGRAM_LIMIT, PROGRAM_BYTES);
            write(WEIGHTS_BASE, WEIGHTS_AT);
            write(WEIGHTS_LIMIT, WEIGHTS_BYTES);
            write(INPUT_BASE, INPUT_AT + image * INPUT_STEP);
            write(INPUT_LIMIT, INPUT_BYTES);
            write(SCRATCH_BASE, SCRATCH_AT);
            write(SCRATCH_LIMIT, SCRATCH_BYTES);
            write(RESULT_BASE, RESULT_AT);
            write(RESULT_LIMIT, RESULT_BYTES);
            write(WATCHDOG, WATCHDOG_CYCLES);
            write(INTERRUPT_ENABLE, 1);
            write(CONTROL, START);
            ran = 0;
            while (!done && ran < limit) begin
                @(negedge clk);
                ran = ran + 1;
            end
            read(STATUS, got);
            read(ERROR_CODE, code);
            read(ERROR_PC, pc);
            read(CYCLES, cycles);
            if (!done) begin
                $display("FAIL: image %0d: no interrupt after %0d cycles, STATUS is %0d", image, limit, got);
                $fatal(1);
            end
            if ((got & ~DRAINING) !== DONE) begin
                $display("FAIL: image %0d: STATUS is %0d, error %0d at instruction %0d", image, got, code, pc);
                $fatal(1);
            end
            for (label = 0; label < CLASSES; label = label + 1) begin
                address = (RESULT_AT + 2 * label) / BYTES;
                logit = memory.dram[address][bit_of(label)+:16];
                wanted = expected[image*CLASSES+label];
                if (logit !== wanted) begin
                    differing = differing + 1;
                    $display("image %0d, class %0d: got %0d, expected %0d", image, label,
                             $signed(logit), $signed(wanted));
                end
            end
            $display("image %0d: %0d cycles", image, cycles);
            write(CONTROL, CLEAR);
            read(STATUS, got);
            for (ran = 0; got != 0 && ran < PATIENCE; ran = ran + 1) read(STATUS, got);
            if (got != 0 || done) begin
                $display("FAIL: image %0d: STATUS is %0d after CLEAR", image, got);
                $fatal(1);
            end
        end
    endtask

    initial begin
        if (!$value$plusargs("images=%d", images)) images = IMAGES;
        if (!$value$plusargs("limit=%d", limit)) limit = LIMIT;
        if (!$value$plusargs("latency=%d", latency)) latency = LATENCY;
        if (!$value$plusargs("bandwidth=%d", bandwidth)) bandwidth = BANDWIDTH;
        if (!$value$plusargs("stall=%d", stall)) stall = 0;
        if (!$value$plusargs("dram=%s", dram_path)) dram_path = "dram.hex";
        if (!$value$plusargs("expected=%s", expected_path)) expected_path = "expected.hex";
        if (images < 1 || images > IMAGES) begin
            $display("FAIL: there are %0d images, not %0d", IMAGES, images);
            $fatal(1);
        end
        $readmemh(dram_path, memory.dram, 0, BEATS - 1);
        $readmemh(expected_path, expected);
        differing = 0;
        rst = 1;
        {awaddr, araddr, wdata} = 0;
        {awvalid, wvalid, bready, arvalid, rready} = 0;
        repeat (4) @(negedge clk);
        rst = 0;
        identity("ID", ID, ID_VALUE);
        identity("VERSION", VERSION, VERSION_VALUE);
        identity("DIGEST", CONFIG_DIGEST_LOW, DIGEST_LOW_VALUE);
        identity("DIGEST", CONFIG_DIGEST_HIGH, DIGEST_HIGH_VALUE);
        for (image = 0; image < images; image = image + 1) run;
        if (violations != 0) begin
            $display("FAIL: the machine broke AXI rules: %b", violations);
            $fatal(1);
        end
        if (differing != 0) begin
            $display("FAIL: %0d logits differ", differing);
            $fatal(1);
        end
        $display("PASS: %0d images, %0d logits equal", images, images * CLASSES);
        $finish;
    end
endmodule

`default_nettype wire
