"""Whether a MATLAB file is laid out as it should be: looked at before scipy reads it.

scipy's reader takes what a file says for granted: the kind of an element is the index into an array, names end where a zero
byte happens to come, values within values are read by recursion. A hostile file ends the process, or worse. The layout:
MathWorks, "MAT-File Format", level 5.
"""

import math
import struct
import zlib

_HEADER = 128  # bytes before the first element
_NUMERIC = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18}  # kinds of elements that hold numbers or text
_INT32, _MATRIX, _PACKED = 5, 14, 15
_CELL, _STRUCT = 1, 2  # classes of matrices that hold matrices; those of numbers and text are 4 to 15
_DEEPEST = 200  # values within values; MPII's own has 10 levels
_MOST_BYTES = 2**30  # unpacked


def require_sound(data: bytes) -> None:
    """Raise ValueError for a MATLAB 5 file that is not as its format says, nests too deep, or would unpack to too much.

    A file of another version is left to scipy: 4 has no nesting, and 7.3 it does not read.
    """
    if (
        len(data) < _HEADER or 0 in data[:4] or data[125 if data[126:127] == b"I" else 124] != 1
    ):  # as scipy tells versions apart
        return
    order, start = "<" if data[126:128] == b"IM" else ">", _HEADER
    while start + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, start)
        if start + 8 + size > len(data):
            raise ValueError("it is cut off")
        element = memoryview(data)[start : start + 8 + size]
        start += 8 + size
        if kind == _PACKED:
            element = memoryview(_unpacked(element[8:]))
            if len(element) < 8:
                raise ValueError("a packed element holds nothing")
            kind, size = struct.unpack_from(f"{order}II", element)
        if kind != _MATRIX or 8 + size > len(element):
            raise ValueError(f"an element of kind {kind} and {size} bytes, where a variable should be")
        _walk(element, 8 + size, order)


def _unpacked(packed: memoryview) -> bytes:
    unpacking = zlib.decompressobj()
    element = unpacking.decompress(packed, _MOST_BYTES)
    if unpacking.unconsumed_tail:
        raise ValueError(f"unpacked it would have more than {_MOST_BYTES:,} bytes")
    return element


def _walk(data: memoryview, size: int, order: str) -> None:
    """Look at a matrix and all that are within it."""
    two, left = struct.Struct(f"{order}II"), [(8, size, 1)]
    while left:
        at, end, depth = left.pop()
        if depth > _DEEPEST:
            raise ValueError(f"its values lie more than {_DEEPEST} deep in each other")
        parts: list[tuple[int, int, int]] = []  # kind, start, bytes
        while at < end:
            if at + 8 > end:
                raise ValueError(f"an element that is cut off at byte {at}")
            kind, length = two.unpack_from(data, at)
            start, after = at + 8, at + 8 + (length + 7 & ~7)
            if kind >> 16:  # four bytes or less stand in the tag itself
                kind, length, start, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
                if length > 4:
                    raise ValueError(f"a short element of {length} bytes at byte {at}")
            if kind not in _NUMERIC and kind != _MATRIX:
                raise ValueError(f"an element of kind {kind} at byte {at}")
            if start + length > end:
                raise ValueError(f"an element that reaches beyond what holds it at byte {at}")
            parts.append((kind, start, length))
            at = after
        if not parts:  # an empty matrix, []
            continue
        left += [(start, start + length, depth + 1) for start, length in _within(parts, data, order, end - parts[0][1])]


def _within(parts: list[tuple[int, int, int]], data: memoryview, order: str, room: int) -> list[tuple[int, int]]:
    """(start, bytes) of the matrices that a matrix holds, its flags, dimensions and names as they should be."""
    if (
        len(parts) < 3
        or parts[0][2] != 8
        or parts[1][0] != _INT32
        or parts[1][2] % 4
        or any(p[0] == _MATRIX for p in parts[:3])
    ):
        raise ValueError(f"a matrix without flags, dimensions or name at byte {parts[0][1]}")
    matrix_class = struct.unpack_from(f"{order}I", data, parts[0][1])[0] & 0xFF
    shape = struct.unpack_from(f"{order}{parts[1][2] // 4}i", data, parts[1][1])
    rest = parts[3:]
    if matrix_class not in (_CELL, _STRUCT):
        if not 4 <= matrix_class <= 15:
            raise ValueError(
                f"a matrix of class {matrix_class} at byte {parts[0][1]}, which is no number, text, cell or struct"
            )
        if any(kind == _MATRIX for kind, _, _ in rest):
            raise ValueError(f"a matrix within numbers at byte {parts[0][1]}")
        return []
    fields = 1
    if matrix_class == _STRUCT:
        fields = _fields(rest[:2], data, order)
        rest = rest[2:]
    if min(shape, default=0) < 0 or math.prod(shape) * max(fields, 1) > room or math.prod(shape) * fields != len(rest):
        raise ValueError(f"{len(rest)} values where there should be {shape} of {fields} at byte {parts[0][1]}")
    if any(kind != _MATRIX for kind, _, _ in rest):
        raise ValueError(f"a cell or field that is no matrix at byte {parts[0][1]}")
    return [(start, length) for _, start, length in rest]


def _fields(parts: list[tuple[int, int, int]], data: memoryview, order: str) -> int:
    """How many fields a struct has."""
    if len(parts) < 2 or parts[0][0] != _INT32 or parts[0][2] != 4 or parts[1][0] != 1:
        raise ValueError("a struct without names of its fields")
    width = struct.unpack_from(f"{order}i", data, parts[0][1])[0]
    names = bytes(data[parts[1][1] : parts[1][1] + parts[1][2]])
    if not 0 < width <= 256 or len(names) % width or any(0 not in names[at : at + width] for at in range(0, len(names), width)):
        raise ValueError(f"names of fields of {width} bytes each, {len(names)} in all")
    return len(names) // width
