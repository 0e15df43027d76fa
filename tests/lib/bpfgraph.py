"""The control flow of BPF instructions: whether a program can come back to where it was."""

import struct
from collections.abc import Iterator
from pathlib import Path

JMP, JMP32 = 0x05, 0x06
JA, CALL, EXIT = 0x00, 0x80, 0x90
LOAD_WIDE = 0x18  # takes two slots


def sections(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and octets of each executable section of an ELF object."""
    octets = path.read_bytes()
    (start,) = struct.unpack_from("<Q", octets, 0x28)
    size, count, names = struct.unpack_from("<HHH", octets, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", octets, start + i * size) for i in range(count)]
    strings = octets[headers[names][4] :]
    for name, kind, flags, _, offset, length, *_ in headers:
        if kind == 1 and flags & 4 and length:  # SHT_PROGBITS, SHF_EXECINSTR
            yield strings[name : strings.index(b"\0", name)].decode(), octets[offset : offset + length]


def has_cycle(code: bytes) -> bool:
    """Whether any instruction can be reached from itself. `code` may hold several programs, one after the other."""
    count = len(code) // 8
    follows: list[tuple[int, ...]] = []
    for at in range(count):
        opcode, _, offset, _ = struct.unpack_from("<BBhi", code, at * 8)
        kind, operation = opcode & 0x07, opcode & 0xF0
        if kind not in (JMP, JMP32) or operation == CALL:
            follows.append((at + 1 + (opcode == LOAD_WIDE),))
        elif operation == EXIT:
            follows.append(())
        elif operation == JA:
            follows.append((at + 1 + offset,))
        else:
            follows.append((at + 1, at + 1 + offset))
    done, path = set[int](), set[int]()
    stack: list[tuple[int, bool]] = [(at, False) for at in range(count)]
    while stack:
        at, leaving = stack.pop()
        if leaving:
            path.discard(at)
            done.add(at)
        elif at in path:
            continue
        elif at not in done:
            path.add(at)
            stack.append((at, True))
            for after in follows[at]:
                if after in path:
                    return True
                if after < count and after not in done:
                    stack.append((after, False))
    return False
