# Copyright (c) The mmlcr authors. All rights reserved.
"""What becomes of good files on their way to a training, and worse."""
import random
import re
import struct
import zlib
from typing import Callable, List

SIZES = (0, 1, 7, 255, 65535, 2**16, 2**20, 2**24, 2**30, 2**31 - 1, 2**31,
         2**32 - 1)  # that a damaged or forged header may claim
ATOMS = (b'ftyp', b'moov', b'mvhd', b'trak', b'tkhd', b'mdia', b'mdhd',
         b'hdlr', b'minf', b'stbl', b'stsd', b'stts', b'stss', b'stsc',
         b'stsz', b'stco', b'mdat', b'RIFF', b'LIST', b'avih', b'strh',
         b'strf', b'movi', b'idx1', b'00dc')
Mutation = Callable[[bytes, random.Random], bytes]


def noise(rng: random.Random, length: int) -> bytes:
    """Random bytes."""
    return rng.getrandbits(8 * length + 1).to_bytes(length + 1, 'big')[1:]


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[:rng.randrange(len(data) + 1)]


def truncate_in_header(data: bytes, rng: random.Random) -> bytes:
    return data[:rng.randrange(64)]


def cut_end(data: bytes, rng: random.Random) -> bytes:
    return data[:-rng.randrange(1, 200)]


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    """Up to a hundred bits anywhere."""
    return _flip(data, rng, 0, len(data), int(10**rng.uniform(0, 2)))


def flip_in_header(data: bytes, rng: random.Random) -> bytes:
    return _flip(data, rng, 0, rng.choice((16, 64, 512)), rng.randrange(1, 9))


def flip_in_index(data: bytes, rng: random.Random) -> bytes:
    """Containers have their tables at the end."""
    start = len(data) - rng.choice((64, 512, 2048))
    return _flip(data, rng, start, len(data), rng.randrange(1, 9))


def overwrite(data: bytes, rng: random.Random) -> bytes:
    """A piece by zeros, ones or noise."""
    start, stop = _piece(data, rng)
    length = stop - start
    piece = rng.choice((bytes(length), b'\xff' * length, noise(rng, length)))
    return data[:start] + piece + data[stop:]


def delete(data: bytes, rng: random.Random) -> bytes:
    start, stop = _piece(data, rng)
    return data[:start] + data[stop:]


def repeat(data: bytes, rng: random.Random) -> bytes:
    start, stop = _piece(data, rng)
    return data[:stop] + data[start:stop] * rng.randrange(1, 5) + data[stop:]


def swap(data: bytes, rng: random.Random) -> bytes:
    """Two neighbouring pieces."""
    start, stop = _piece(data, rng)
    middle = rng.randrange(start, stop + 1)
    return data[:start] + data[middle:stop] + data[start:middle] + data[stop:]


def insert(data: bytes, rng: random.Random) -> bytes:
    start, _ = _piece(data, rng)
    return data[:start] + noise(rng, rng.randrange(1, 64)) + data[start:]


def put_size(data: bytes, rng: random.Random) -> bytes:
    """A number somewhere in the header, or anywhere, by another one."""
    at = rng.randrange(rng.choice((64, 256, len(data) + 1)))
    return _put(data, at, rng.choice('<>') + 'I', rng.choice(SIZES))


def change_atom(data: bytes, rng: random.Random) -> bytes:
    """The size of a part of a container, or a field at its beginning."""
    places = [m.start() for atom in ATOMS for m in re.finditer(atom, data)]
    if not places:
        return put_size(data, rng)
    place, order = rng.choice(places), '<' if data[:4] == b'RIFF' else '>'
    offset = rng.choice((-4, -4, 4, *range(8, 80, 4)))
    return _put(data, place + offset, order + 'I', rng.choice(SIZES))


def claim_image_size(data: bytes, rng: random.Random) -> bytes:
    """Another width and height in the header of an image."""
    width, height = rng.choice(SIZES), rng.choice(SIZES)
    if data[1:4] == b'PNG':  # with the sum that a reader checks first
        head = b'IHDR' + struct.pack('>II', width, height) + data[24:29]
        return (data[:12] + head + struct.pack('>I', zlib.crc32(head)) +
                data[33:])
    if data[:2] == b'\xff\xd8':
        frame = re.search(b'\xff[\xc0-\xc2]', data)
        return _put(data, frame.start() + 5 if frame else 0, '>HH',
                    height & 0xffff, width & 0xffff)
    if data[:2] == b'BM':
        return _put(data, 18, '<II', width, height)
    if data[:2] in (b'P5', b'P6'):
        return re.sub(rb'\d+ \d+', b'%d %d' % (width, height), data, count=1)
    if data[8:12] == b'WEBP':
        return _put(data, 26, '<HH', width & 0x3fff, height & 0x3fff)
    if data[:2] == b'II':  # TIFF: in an entry of its table
        for tag, size in ((256, width), (257, height)):
            entry = data.find(struct.pack('<H', tag))
            data = _put(data, entry + 8, '<I', size)
        return data
    return put_size(data, rng)


ANY: List[Mutation] = [
    truncate, truncate_in_header, cut_end, flip_bits, flip_in_header,
    flip_in_index, overwrite, delete, repeat, swap, insert, put_size
]


def mutate(data: bytes, rng: random.Random, *more: Mutation) -> bytes:
    """Some mutations one after the other, ``more`` as often as all others."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        mutation = rng.choice(ANY)
        if more and rng.random() < 0.5:
            mutation = rng.choice(more)
        data = mutation(data, rng)
    return data


def _piece(data: bytes, rng: random.Random) -> tuple:
    start = rng.randrange(len(data) + 1)
    longest = len(data) - start
    length = rng.choice((4, 64, 1024, longest))
    return start, start + min(length, longest)


def _flip(data: bytes, rng: random.Random, start: int, stop: int,
          count: int) -> bytes:
    start, stop = max(start, 0), min(stop, len(data))
    changed = bytearray(data)
    for _ in range(count if stop > start else 0):
        changed[rng.randrange(start, stop)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _put(data: bytes, at: int, layout: str, *values: int) -> bytes:
    """Values over what is there, as far as there is anything."""
    new = struct.pack(layout, *values)
    at = max(at, 0)
    return (data[:at] + new[:max(len(data) - at, 0)] + data[at + len(new):])
