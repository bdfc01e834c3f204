"""Machines whose gates were counted: NAND2 equivalents by unit, of `sievit synth --target gates`.

What the gate estimate (`search.gates`) is fitted to.
"""

from dataclasses import dataclass

__all__ = ["SAMPLES", "Sample"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One synthesis."""

    preset: str
    """What `--preset` was."""
    sram_bits: int
    units: dict[str, int]

    @property
    def logic(self) -> int:
        """All units together."""
        return sum(self.units.values())


SAMPLES = (
    Sample(
        preset="asic512,effort_gate=off",
        sram_bits=2598903,
        units={
            "mac_array": 431482,
            "row_memory": 7845,
            "token_memory": 3631,
            "table_memories": 41,
            "epilogue": 303021,
            "softmax": 96450,
            "layer_norm": 202009,
            "token_selector": 75422,
            "sequencer": 154707,
            "index_engine": 64419,
            "dma": 67072,
            "host": 21342,
            "glue": 936,
        },
    ),
    Sample(
        preset="asic512,zero_skip=off,attention_masks=off,thresholds=off,effort_gate=off",
        sram_bits=2578423,
        units={
            "mac_array": 416509,
            "row_memory": 7779,
            "token_memory": 4295,
            "table_memories": 41,
            "epilogue": 292504,
            "softmax": 73733,
            "layer_norm": 201949,
            "token_selector": 75404,
            "sequencer": 110880,
            "index_engine": 1161,
            "dma": 67101,
            "host": 18072,
            "glue": 510,
        },
    ),
    Sample(
        preset="asic512,attention_masks=off,thresholds=off,effort_gate=off",
        sram_bits=2585591,
        units={
            "mac_array": 416509,
            "row_memory": 7841,
            "token_memory": 4295,
            "table_memories": 41,
            "epilogue": 292569,
            "softmax": 84971,
            "layer_norm": 201942,
            "token_selector": 75403,
            "sequencer": 112973,
            "index_engine": 54377,
            "dma": 67072,
            "host": 19465,
            "glue": 903,
        },
    ),
    Sample(
        preset="asic512,zero_skip=off,thresholds=off,effort_gate=off",
        sram_bits=2597879,
        units={
            "mac_array": 431482,
            "row_memory": 7845,
            "token_memory": 3631,
            "table_memories": 41,
            "epilogue": 300091,
            "softmax": 91799,
            "layer_norm": 201974,
            "token_selector": 75422,
            "sequencer": 152427,
            "index_engine": 16155,
            "dma": 67100,
            "host": 20128,
            "glue": 528,
        },
    ),
    Sample(
        preset="asic512,token_selector=off,cls_scores=off,zero_skip=off,attention_masks=off,thresholds=off,effort_gate=off",
        sram_bits=2561024,
        units={
            "mac_array": 416303,
            "row_memory": 7778,
            "token_memory": 2269,
            "table_memories": 41,
            "epilogue": 292547,
            "softmax": 73039,
            "layer_norm": 202028,
            "token_selector": 0,
            "sequencer": 106256,
            "index_engine": 1161,
            "dma": 66360,
            "host": 17438,
            "glue": 391,
        },
    ),
    Sample(
        preset="zcu102,token_selector=off,cls_scores=off",
        sram_bits=10990592,
        units={
            "mac_array": 1397388,
            "row_memory": 23357,
            "token_memory": 4419,
            "table_memories": 72,
            "epilogue": 530775,
            "softmax": 211263,
            "layer_norm": 202036,
            "sequencer": 139134,
            "index_engine": 1161,
            "dma": 75438,
            "host": 17796,
            "glue": 2308,
        },
    ),
    Sample(
        preset="ulx3s,token_selector=off,cls_scores=off",
        sram_bits=813568,
        units={
            "mac_array": 121606,
            "row_memory": 2154,
            "token_memory": 736,
            "table_memories": 37,
            "epilogue": 82440,
            "softmax": 51464,
            "layer_norm": 51276,
            "sequencer": 87282,
            "index_engine": 1143,
            "dma": 52851,
            "host": 17174,
            "glue": 391,
        },
    ),
    Sample(
        preset="tiny,zero_skip=off,attention_masks=off,thresholds=off,effort_gate=off",
        sram_bits=417920,
        units={
            "mac_array": 32476,
            "row_memory": 663,
            "token_memory": 852,
            "table_memories": 37,
            "epilogue": 76268,
            "softmax": 49823,
            "layer_norm": 61787,
            "token_selector": 34767,
            "sequencer": 80888,
            "index_engine": 1109,
            "dma": 49575,
            "host": 19368,
            "glue": 717,
        },
    ),
    Sample(
        preset="small",
        sram_bits=149952,
        units={
            "mac_array": 20557,
            "row_memory": 384,
            "token_memory": 460,
            "table_memories": 33,
            "epilogue": 31415,
            "softmax": 32726,
            "layer_norm": 32701,
            "token_selector": 0,
            "sequencer": 40516,
            "index_engine": 1085,
            "dma": 36720,
            "host": 15173,
            "glue": 597,
        },
    ),
    Sample(
        preset="tiny,vector_lanes=1,norm_lanes=1,score_lanes=1,zero_skip=off,attention_masks=off,thresholds=off,effort_gate=off",
        sram_bits=417920,
        units={
            "mac_array": 32476,
            "row_memory": 663,
            "token_memory": 852,
            "table_memories": 33,
            "epilogue": 31445,
            "softmax": 33933,
            "layer_norm": 32777,
            "token_selector": 30115,
            "sequencer": 80888,
            "index_engine": 1109,
            "dma": 48181,
            "host": 19251,
            "glue": 717,
        },
    ),
    Sample(
        preset="tiny,banks=8,lanes=16,zero_skip=off,attention_masks=off,thresholds=off",
        sram_bits=1097984,
        units={
            "mac_array": 109064,
            "row_memory": 2157,
            "token_memory": 1362,
            "table_memories": 37,
            "epilogue": 78866,
            "softmax": 50894,
            "layer_norm": 64787,
            "token_selector": 41322,
            "effort_gate": 11108,
            "sequencer": 86109,
            "index_engine": 1133,
            "dma": 52755,
            "host": 20613,
            "glue": 748,
        },
    ),
)
"""In no order."""
