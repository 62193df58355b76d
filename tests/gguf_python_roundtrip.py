"""Exchanges files with the reference Python package `gguf`, both ways:

    gguf_python_roundtrip.py PROGRAM GOLDEN_DIRECTORY

Python writes a file, PROGRAM dumps it (our reader); PROGRAM copies it (our writer), Python reads the
copy. Nothing may differ. Copies of the golden files, which ggml wrote, must be the same bytes.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import gguf
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

SCALARS = {
    gguf.GGUFValueType.UINT8: ("u8", [0, 255]),
    gguf.GGUFValueType.INT8: ("i8", [-128, 127]),
    gguf.GGUFValueType.UINT16: ("u16", [0, 65535]),
    gguf.GGUFValueType.INT16: ("i16", [-32768, 32767]),
    gguf.GGUFValueType.UINT32: ("u32", [0, 2**32 - 1]),
    gguf.GGUFValueType.INT32: ("i32", [-(2**31), 2**31 - 1]),
    gguf.GGUFValueType.FLOAT32: ("f32", [0.5, -0.10000000149011612, 3.4028234663852886e38]),
    gguf.GGUFValueType.BOOL: ("bool", [True, False]),
    gguf.GGUFValueType.STRING: ("string", ["", "text", "n\u00e9 \u4e16 \U0001f600\n\0"]),
    gguf.GGUFValueType.UINT64: ("u64", [0, 2**64 - 1]),
    gguf.GGUFValueType.INT64: ("i64", [-(2**63), 2**63 - 1]),
    gguf.GGUFValueType.FLOAT64: ("f64", [0.1, -1e300, 5e-324]),
}


def printed(kind, value):
    """A scalar as gguf_exchange prints it."""
    if kind == gguf.GGUFValueType.STRING:
        return "'" + value.encode().hex() + "'"
    if kind in (gguf.GGUFValueType.FLOAT32, gguf.GGUFValueType.FLOAT64):
        return format(value, ".17g")
    return str(int(value))


def write_with_python(path, alignment):
    """Writes every value type and every tensor type; returns the lines that a dump must have."""
    writer = gguf.GGUFWriter(str(path), "exchange")
    keys = [("general.architecture", "string", "'" + b"exchange".hex() + "'")]
    if alignment != 32:
        writer.add_custom_alignment(alignment)
        keys.append(("general.alignment", "u32", str(alignment)))
    for kind, (name, values) in SCALARS.items():
        for i, value in enumerate(values):
            key = f"scalar.{name}.{i}"
            writer.add_key_value(key, value, kind)
            keys.append((key, name, printed(kind, value)))
        key = f"array.{name}"
        writer.add_key_value(key, values, gguf.GGUFValueType.ARRAY, sub_type=kind)
        keys.append((key, "array", f"({name} " + " ".join(printed(kind, v) for v in values) + ")"))
    random = np.random.default_rng(1)
    tensors = []
    for kind, (elements, size) in gguf.GGML_QUANT_SIZES.items():
        if kind == gguf.GGMLQuantizationType.Q8_1:
            continue  # the package still counts 40 bytes a block; ggml made it 36 (two halves, 32 bytes)
        rows, blocks = 3, 2
        data = random.integers(0, 256, (rows, blocks * size), dtype=np.uint8)
        name = f"tensor.{kind.name}"
        writer.add_tensor_info(name, (rows, blocks * elements), np.dtype(np.float32), data.nbytes, raw_dtype=kind)
        writer.tensors[-1][name].tensor = data
        tensors.append((name, kind.name, [blocks * elements, rows], data.tobytes()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    lines = [f"version 3 alignment {alignment}"]
    lines += [f"key {key.encode().hex()} {kind} {value}" for key, kind, value in keys]
    lines += [f"tensor {n.encode().hex()} {k} " + " ".join(map(str, d)) + f" {b.hex()}" for n, k, d, b in tensors]
    return lines


def contents(path):
    """What the Python package reads in a file. The three GGUF.* fields are those of the header."""
    reader = gguf.GGUFReader(str(path))
    keys = {
        name: ([t.name for t in field.types], field.contents())
        for name, field in reader.fields.items()
        if not name.startswith("GGUF.")
    }
    tensors = [
        (t.name, t.tensor_type.name, [int(d) for d in t.shape], int(t.data_offset) % reader.alignment, t.data.tobytes())
        for t in reader.tensors
    ]
    return reader.alignment, keys, tensors


def run(*arguments):
    result = subprocess.run([str(a) for a in arguments], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))} failed: {result.stderr.strip()}")
    return result.stdout.splitlines()


def expect_equal(found, expected, what):
    if found == expected:
        return
    for a, b in zip(found, expected):
        if a != b:
            sys.exit(f"{what}:\n  found    {str(a)[:300]}\n  expected {str(b)[:300]}")
    sys.exit(f"{what}: found {len(found)} lines, expected {len(expected)}")


def main():
    program, golden = Path(sys.argv[1]), Path(sys.argv[2])
    files = 0
    with tempfile.TemporaryDirectory() as directory:
        written, copied = Path(directory) / "python.gguf", Path(directory) / "copy.gguf"
        for alignment in (8, 32, 64, 4096):
            lines = write_with_python(written, alignment)
            expect_equal(run(program, "dump", written), lines, f"our reader, alignment {alignment}")
            run(program, "copy", written, copied)
            if contents(copied) != contents(written):
                sys.exit(f"the Python package reads our copy differently, alignment {alignment}")
            files += 1
        for path in sorted(golden.glob("*.gguf")):
            run(program, "copy", path, copied)
            if copied.read_bytes() != path.read_bytes():
                sys.exit(f"{path.name}: our copy differs")
            files += 1
    print(f"{files} files exchanged with gguf {getattr(gguf, '__version__', '(package)')}: all equal")


if __name__ == "__main__":
    main()
