"""Messages of C's encoder as datagrams, many a system call: what UDP's data goes by."""

import errno
from collections.abc import Callable

from exporter._native import ffi, lib
from exporter.tally import Tally

REFUSALS_LIMIT = 3  # attempts at one message while ICMP errors of earlier ones are reported in its place


def send_datagrams(
    fd: int,
    buffer: "ffi.CData",
    messages: "ffi.CData",
    start: int,
    end: int,
    tally: Tally,
    refused: Callable[[], None],
) -> int:
    """Send messages[start:end], headers included; return the first that is left, from where on one by one is right.

    `refused` is called for each ICMP error of an earlier message.
    """
    sent = ffi.new("unsigned int *")
    refusals = 0
    while start < end:
        code = -lib.send_messages(fd, buffer, messages + start, end - start, sent)
        tally.counters["messages_sent"] += sent[0]
        tally.counters["records_sent"] += sum(messages[i].records for i in range(start, start + sent[0]))
        if sent[0]:
            refusals, tally.error = 0, ""
        start += sent[0]
        if code == errno.ECONNREFUSED and refusals < REFUSALS_LIMIT:
            refusals += 1
            refused()
        elif code:
            break
    return start
