"""The encoder, as Python sees exporter/native/encode.c: ended flows in, messages without headers out."""

from collections.abc import Mapping

from exporter._native import ffi, lib
from exporter.options import SMALLEST_MESSAGE
from exporter.plan import make_encoder
from exporter.profiles import Profile


class Encoder:
    """Writes the records of one profile. Owns the buffer; what a call wrote stands until the next one.

    Attributes:
        buffer: __u8[], the messages' octets; the first 16 of each are left to its header.
        messages: struct message[], by domain.
        count: of messages.

    """

    def __init__(self, profile: Profile, virtual_obs_id: str, flows: int, message_size: int) -> None:
        """Take the profile, the value of virtualObsID in it, and how many flows and octets a message there may be."""
        self._encoder = make_encoder(profile, virtual_obs_id)
        self.messages = ffi.new("struct message[]", flows)
        self.buffer = ffi.new("__u8[]", flows * SMALLEST_MESSAGE + message_size)  # any record fits SMALLEST_MESSAGE
        self._count = ffi.new("unsigned int *")
        self._uses = ffi.new("struct template_use **")

    @property
    def count(self) -> int:
        """Messages that the last call made."""
        return int(self._count[0])

    def encode(self, flows: "ffi.CData", count: int, export_time: int, limit: int) -> int:
        """Write the first of these flows, a struct flow **, into messages of at most `limit` octets.

        Return how many were written, which then are the first ones: or fewer than 1, where memory is short or a record
        does not fit a message.
        """
        self._count[0] = 0
        size = len(self.buffer)
        return int(
            lib.encode_flows(
                *(self._encoder, flows, count, export_time, limit),
                *(self.buffer, size, self.messages, len(self.messages), self._count),
            )
        )

    @property
    def used(self) -> Mapping[int, frozenset[int]]:
        """Template ids that the records of the last call were written by, by observation domain."""
        count = lib.encoder_used(self._encoder, self._uses)
        used: dict[int, set[int]] = {}
        for use in self._uses[0][0:count]:
            used.setdefault(use.domain, set()).add(use.template_id)
        return {domain: frozenset(numbers) for domain, numbers in used.items()}
