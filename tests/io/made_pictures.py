"""Made pictures for the tests of their reader."""

import struct
import zlib

import numpy as np

RNG = np.random.default_rng(5)
DEEP = RNG.integers(0, 65536, (40, 30), dtype=np.uint16)
GREY = (DEEP >> 8).astype(np.uint8)
SMOOTH = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)


def png_16(array, more=()):
    """A PNG of [h, w, channels] samples of 16 bits; its rows use every filter that there is."""
    height, width, channels = array.shape
    size = 2 * channels
    rows, last = [], np.zeros(width * size, np.uint8)
    for k, row in enumerate(array.astype(">u2")):
        line = np.frombuffer(row.tobytes(), np.uint8)
        left = np.concatenate([np.zeros(size, np.uint8), line[:-size]])
        corner = np.concatenate([np.zeros(size, np.uint8), last[:-size]])
        a, b, c = (v.astype(int) for v in (left, last, corner))
        p = a + b - c
        nearest = [np.abs(p - v) for v in (a, b, c)]
        paeth = np.where(
            (nearest[0] <= nearest[1]) & (nearest[0] <= nearest[2]),
            a,
            np.where(nearest[1] <= nearest[2], b, c),
        )
        predicted = (0 * a, a, b, (a + b) // 2, paeth)[k % 5]
        rows.append(bytes([k % 5]) + ((line - predicted) % 256).astype(np.uint8).tobytes())
        last = line

    def chunk(name, data):
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    chunks = ((b"IHDR", head), *more, (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)
