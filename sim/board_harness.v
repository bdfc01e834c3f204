// A board with the ports that a bench drives and sees.

`default_nettype none

module board_harness (
    input wire clk /*verilator public_flat_rw*/,
    input wire rst /*verilator public_flat_rw*/,
    input wire rx /*verilator public_flat_rw*/,
    output wire tx /*verilator public_flat_rw*/,
    output wire busy /*verilator public_flat_rw*/,
    output wire done /*verilator public_flat_rw*/,
    output wire error /*verilator public_flat_rw*/,
    output wire activity /*verilator public_flat_rw*/
);
    sievit_board board (
        .clk(clk),
        .rst(rst),
        .rx(rx),
        .tx(tx),
        .busy(busy),
        .done(done),
        .\error (error),
        .activity(activity)
    );
endmodule

`default_nettype wire
