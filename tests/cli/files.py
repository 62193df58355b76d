"""Reading and writing .npy and GGUF files with nothing but the standard library, for the tests.

Written from the descriptions of the formats, independently of the program: what the program writes
is read by this, and the other way round.
"""

import array
import math
import struct
import sys
from pathlib import Path

assert sys.byteorder == "little"


def floats(data: bytes) -> array.array:
    return array.array("f", data)


# ---- .npy ----------------------------------------------------------------------------------------


def npy_bytes(rows, columns, data: bytes, *, version=1, header=None, length=None) -> bytes:
    """A .npy file; `header` and `length` override what would be right."""
    if header is None:
        header = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }" % (rows, columns)
    text = header.encode()
    width, code = (2, "<H") if version == 1 else (4, "<I")
    start = 8 + width
    text += b" " * (-(start + len(text) + 1) % 64) + b"\n"
    declared = len(text) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack(code, declared) + text + data


def write_npy(path, rows, columns, data: bytes, **kw):
    Path(path).write_bytes(npy_bytes(rows, columns, data, **kw))


def read_npy(path):
    """(rows, columns, bytes of the values)"""
    raw = Path(path).read_bytes()
    assert raw[:8] == b"\x93NUMPY\x01\x00", raw[:8]
    (length,) = struct.unpack_from("<H", raw, 8)
    assert (10 + length) % 64 == 0 and raw[9 + length] == 0x0A
    fields = eval(raw[10 : 10 + length].decode(), {})  # our own output, nothing from outside
    assert fields["descr"] == "<f4" and fields["fortran_order"] is False
    rows, columns = fields["shape"]
    data = raw[10 + length :]
    assert len(data) == rows * columns * 4
    return rows, columns, data


# ---- GGUF ----------------------------------------------------------------------------------------

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
TYPE_IDS = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8, "Q4_K": 12, "I32": 26}


class Gguf:
    """The tensors of a file: name -> (dims, fastest first; type id; offset in the file)."""

    def __init__(self, path):
        self.raw = Path(path).read_bytes()
        self.at = 4
        assert self.raw[:4] == b"GGUF"
        self.version, tensors, keys = self.take("<I"), self.take("<Q"), self.take("<Q")
        self.metadata = {self.string().decode(): self.value(self.take("<I")) for _ in range(keys)}
        self.tensors = {}
        for _ in range(tensors):
            name = self.string().decode()
            dims = [self.take("<Q") for _ in range(self.take("<I"))]
            self.tensors[name] = (dims, self.take("<I"), self.take("<Q"))
        alignment = self.metadata.get("general.alignment", 32)
        self.data_at = -(-self.at // alignment) * alignment

    def take(self, code):
        (value,) = struct.unpack_from(code, self.raw, self.at)
        self.at += struct.calcsize(code)
        return value

    def string(self):
        length = self.take("<Q")
        self.at += length
        return self.raw[self.at - length : self.at]

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            inner, count = self.take("<I"), self.take("<Q")
            return [self.value(inner) for _ in range(count)]
        return self.take(SCALARS[kind])

    def offset(self, name):
        return self.data_at + self.tensors[name][2]

    def f32(self, name) -> bytes:
        dims, kind, _ = self.tensors[name]
        assert kind == TYPE_IDS["F32"]
        at = self.offset(name)
        return self.raw[at : at + 4 * math.prod(dims)]


def gguf_bytes(metadata=(), tensors=()) -> bytes:
    """A GGUF file. metadata: (key bytes, type id, encoded value); tensors: (name bytes, dims, type id, data)."""

    def string(text):
        return struct.pack("<Q", len(text)) + text

    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, kind, value in metadata:
        out += string(key) + struct.pack("<I", kind) + value
    offset = 0
    for name, dims, kind, data in tensors:
        out += string(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
        out += struct.pack("<IQ", kind, offset)
        offset += -(-len(data) // 32) * 32
    out += b"\0" * (-len(out) % 32)
    for _, _, _, data in tensors:
        out += data + b"\0" * (-len(data) % 32)
    return out


def nmse(got: bytes, expected: bytes) -> float:
    a, b = floats(got), floats(expected)
    assert len(a) == len(b)
    error = math.fsum((x - y) ** 2 for x, y in zip(a, b))
    return error / max(math.fsum(y * y for y in b), 1e-300)


def same_floats(got: bytes, expected: bytes) -> bool:
    """Equal bit for bit, except that any NaN equals any NaN."""
    if got == expected:
        return True
    if len(got) != len(expected):
        return False
    a, b = array.array("I", got), array.array("I", expected)
    is_nan = lambda bits: bits & 0x7FFFFFFF > 0x7F800000
    return all(x == y or (is_nan(x) and is_nan(y)) for x, y in zip(a, b))
