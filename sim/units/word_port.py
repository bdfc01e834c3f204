"""Accesses through a word port of `rtl_gen.link.interfaces`."""

from typing import Any

from sim.bench import cycles

__all__ = ["access"]


async def access(dut: Any, port: str, word: int, value: int | None, *, limit: int) -> int:
    """Read a word, or write `value`; returns what was read or written.

    limit : cycles without an answer that fail the test
    """
    from cocotb.triggers import ReadOnly

    pins = {name: getattr(dut, f"{port}__{name}") for name in ("valid", "write", "address", "data")}
    pins["valid"].value = 1
    pins["write"].value = int(value is not None)
    pins["address"].value = word
    pins["data"].value = value or 0
    waited = 0
    while True:
        # `done` may answer at once: look before the edge that ends the access
        await ReadOnly()
        done, got = int(getattr(dut, f"{port}__done").value), getattr(dut, f"{port}__value").value
        await cycles(dut)
        if done:
            break
        waited += 1
        assert waited < limit, f"no answer at {port}"
    pins["valid"].value = 0
    return int(got) if value is None else value
