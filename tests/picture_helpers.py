"""Picture files made by hand."""

import struct
import zlib


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG that says what is given: bits a channel, PNG's number of the colour type; `rows` is what is packed into it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
