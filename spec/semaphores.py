"""The four instruction queues, and the credit counters by which they meet."""

from amaranth.lib import enum

__all__ = [
    "CONSUMER_OF",
    "PRODUCER_OF",
    "SEMAPHORE_BITS",
    "SEMAPHORE_COUNT",
    "Queue",
    "Semaphore",
]


class Queue(enum.Enum, shape=2):
    """The four decoupled instruction queues."""

    LOAD = 0
    ARRAY = 1
    VECTOR = 2
    STORE = 3


class Semaphore(enum.Enum, shape=4):
    """Credit counters; each has one producing and one consuming queue."""

    WEIGHTS_READY = 0
    """a column block: its table and weight rows are in place"""
    WEIGHTS_FREE = 1
    """a column block has been used: its rows and table may be overwritten"""
    TOKENS_READY = 2
    """LOAD_TOKENS has written its rows (or, row by row, one of them)"""
    TOKENS_FREE = 3
    """loaded token rows have been used"""
    NORM_TABLE_READY = 4
    """a LayerNorm table is in place, or rows that a SELECT or a LayerNorm reads"""
    NORM_TABLE_FREE = 5
    """a LayerNorm table has been used"""
    NORMALIZED = 6
    """a normalised token row is in place"""
    RESIDUAL_READY = 7
    """a row of the residual stream is complete (or all rows of the embedding)"""
    ARRAY_DONE = 8
    """a row, or all rows, of an array instruction that a later one reads"""
    RESULT_READY = 9
    """the logits are in token memory"""
    RESULT_STORED = 10
    """a store is written and confirmed"""
    LIVE_READY = 11
    """the live-token register is set"""
    ROWS_READY = 12
    """normalised rows and their residual stream are in place, to be stored"""
    CONTEXT_READY = 13
    """the context of a group of heads is in place, to be stored"""
    SPILLED = 14
    """rows are stored: they may be loaded, and others in their place"""
    LIVE_KNOWN = 15
    """a selection is over: loads that depend on the live-token register may start"""


_FLOWS = {  # semaphore: (producing queue, consuming queue)
    Semaphore.WEIGHTS_READY: (Queue.LOAD, Queue.ARRAY),
    Semaphore.WEIGHTS_FREE: (Queue.ARRAY, Queue.LOAD),
    Semaphore.TOKENS_READY: (Queue.LOAD, Queue.ARRAY),
    Semaphore.TOKENS_FREE: (Queue.ARRAY, Queue.LOAD),
    Semaphore.NORM_TABLE_READY: (Queue.LOAD, Queue.VECTOR),
    Semaphore.NORM_TABLE_FREE: (Queue.VECTOR, Queue.LOAD),
    Semaphore.NORMALIZED: (Queue.VECTOR, Queue.ARRAY),
    Semaphore.RESIDUAL_READY: (Queue.ARRAY, Queue.VECTOR),
    Semaphore.ARRAY_DONE: (Queue.ARRAY, Queue.ARRAY),
    Semaphore.RESULT_READY: (Queue.ARRAY, Queue.STORE),
    Semaphore.RESULT_STORED: (Queue.STORE, Queue.ARRAY),
    Semaphore.LIVE_READY: (Queue.VECTOR, Queue.ARRAY),
    Semaphore.ROWS_READY: (Queue.VECTOR, Queue.STORE),
    Semaphore.CONTEXT_READY: (Queue.ARRAY, Queue.STORE),
    Semaphore.SPILLED: (Queue.STORE, Queue.LOAD),
    Semaphore.LIVE_KNOWN: (Queue.VECTOR, Queue.LOAD),
}
PRODUCER_OF = {semaphore: producer for semaphore, (producer, _) in _FLOWS.items()}
CONSUMER_OF = {semaphore: consumer for semaphore, (_, consumer) in _FLOWS.items()}

SEMAPHORE_COUNT = 16
SEMAPHORE_BITS = 12
"""A counter holds up to 4,095 credits; one more is an error."""
