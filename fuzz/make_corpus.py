#!/usr/bin/env python3
"""Makes the first seeds of fuzz/corpus. gguf_open: small good files that together use every value type, every tensor
type and every rule of the layout; products: a case of every weight type. What the fuzzer finds is added by hand.

    fuzz/make_corpus.py        (no packages needed; the same files on every run)
"""

import pathlib
import random
import struct

FOLDER = pathlib.Path(__file__).resolve().parent / "corpus"
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
# Tensor type id: elements and bytes of a block.
TYPES = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18),
}  # fmt: skip


def text(characters):
    data = characters.encode() if isinstance(characters, str) else characters
    return struct.pack("<Q", len(data)) + data


def value(kind, content):
    """An encoded value; the content of an array is (element type, list)."""
    if kind == STRING:
        return text(content)
    if kind == ARRAY:
        element, items = content
        return struct.pack("<IQ", element, len(items)) + b"".join(value(element, item) for item in items)
    return struct.pack(SCALARS[kind], content)


def gguf(keys=(), tensors=(), version=3, alignment=32):
    """`keys`: (name, type, content); `tensors`: (name, dims, type, offset, data)."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    for name, kind, content in keys:
        out += text(name) + struct.pack("<I", kind) + value(kind, content)
    end = 0
    for name, dims, kind, offset, data in tensors:
        out += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
        end = max(end, offset + len(data))
    section = bytearray(end)
    for _, _, _, offset, data in tensors:
        section[offset : offset + len(data)] = data
    return out + bytes(-len(out) % alignment if tensors else 0) + bytes(section)


def main():
    numbers = random.Random(1)
    seeds = {"empty": gguf()}
    scalars = [(f"k{kind}", kind, 1) for kind in SCALARS]
    seeds["scalars"] = gguf(scalars + [("s", STRING, "text"), ("odd\0\xff", STRING, b"\xff\0\n")])
    arrays = [(f"a{kind}", ARRAY, (kind, [0, 1])) for kind in SCALARS]
    arrays += [("s", ARRAY, (STRING, ["", "one"])), ("e", ARRAY, (STRING, []))]
    arrays += [("n", ARRAY, (ARRAY, [(ARRAY, [(ARRAY, [(0, [1])])]), (STRING, ["x"])]))]
    seeds["arrays"] = gguf(arrays)
    for kind, (elements, size) in TYPES.items():
        data = numbers.randbytes(2 * size)
        seeds[f"type_{kind:02}"] = gguf(tensors=[("w", [elements, 2], kind, 0, data)])
    f32 = bytes(range(64))
    seeds["shapes"] = gguf(
        tensors=[("scalar", [], 0, 0, f32[:4]), ("w", [2, 2, 2, 2], 0, 32, f32), ("none", [4, 0], 0, 96, b"")]
    )
    seeds["places"] = gguf(
        tensors=[("later", [8], 0, 128, f32[:32]), ("first", [8], 0, 0, f32[:32]), ("shared", [4, 2], 0, 128, f32[:32])]
    )
    seeds["version_2"] = gguf([("a", 4, 1)], [("w", [8], 0, 0, f32[:32])], version=2)
    for alignment in (1, 64):
        seeds[f"alignment_{alignment}"] = gguf(
            [("general.alignment", 4, alignment)], [("w", [8], 0, alignment, f32[:32])], alignment=alignment
        )
    seeds["split"] = gguf([("split.no", 2, 0), ("split.count", 2, 1), ("split.tensors.count", 5, 0)])
    seeds["part"] = gguf([("split.no", 2, 0), ("split.count", 2, 2), ("split.tensors.count", 5, 0)])
    write("gguf_open", {f"{name}.gguf": data for name, data in seeds.items()})
    # Type, precision, rows, blocks in a row, m; then what weights and activations are made of (products.cpp).
    choices = [bytes([i, i % 3, 16 + i, i, 1 + i % 17]) for i in range(len(TYPES))]
    write("products", {f"case_{i:02}": choice + numbers.randbytes(97) for i, choice in enumerate(choices)})


def write(harness, seeds):
    folder = FOLDER / harness
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds.items():
        (folder / name).write_bytes(data)
    print(f"{len(seeds)} files, {sum(map(len, seeds.values()))} bytes in {harness}")


if __name__ == "__main__":
    main()
