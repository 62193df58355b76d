#!/usr/bin/env python3
"""Compares `qlinear dequantize` with a second, independent decoder: the `gguf` package (PyPI).

usage: oracle_test.py QLINEAR GOLDEN_FOLDER

For every type that the package can dequantise: the random bits of the golden file and, written
through gguf.GGUFWriter, fresh random blocks with random and with extreme bytes. Exit status 77
(skipped) if the packages are missing.
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

QLINEAR, GOLDEN = sys.argv[1], Path(sys.argv[2])
ROWS, BLOCKS_PER_ROW = 37, 5


def dequantize(path, tensor, out):
    subprocess.run([QLINEAR, "dequantize", path, tensor, "-o", out], check=True, stdout=subprocess.DEVNULL)
    return np.load(out)


def oracle(raw, kind):
    if kind == gguf.GGMLQuantizationType.F32:
        return raw.view(np.float32)
    if kind == gguf.GGMLQuantizationType.F16:
        return raw.view(np.float16).astype(np.float32)
    with np.errstate(all="ignore"):  # infinities times zero are part of the exercise
        return gguf.quants.dequantize(raw, kind)


def differences(got, expected):
    """Values that differ; any NaN equals any NaN, and zeros of both signs are equal here: some decoders
    of the package compute 0 - 0 where the definition has 0."""
    both_nan = np.isnan(got) & np.isnan(expected)
    return int(np.count_nonzero((got != expected) & ~both_nan))


def random_blocks(kind, rng):
    """Rows of random bytes; the last rows are all zeros, all ones bits, and other constant bytes."""
    _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    rows = rng.integers(0, 256, size=(ROWS, BLOCKS_PER_ROW * block_bytes), dtype=np.uint8)
    for row, value in enumerate([0x00, 0xFF, 0x7F, 0x80, 0x55, 0xAA]):
        rows[ROWS - 1 - row] = value
    return rows


def known_types():
    """The types of the package that it can decode and that are weights."""
    kinds = []
    for kind in gguf.GGMLQuantizationType:
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        try:
            oracle(np.zeros((1, size), dtype=np.uint8), kind)
        except NotImplementedError:
            continue
        kinds.append(kind)
    return kinds


def main():
    rng = np.random.default_rng(20240711)
    compared, failures, decodable = set(), [], known_types()
    with tempfile.TemporaryDirectory(prefix="qlinear-oracle-") as folder:
        out = Path(folder) / "w.npy"

        for path in sorted(GOLDEN.glob("*.gguf")):
            try:
                tensor = next(t for t in gguf.GGUFReader(path).tensors if t.name == "bits.weight")
            except ValueError as unknown:  # a type newer than the package
                print(f"{path.name}: not read by the gguf package ({unknown})")
                continue
            if tensor.tensor_type not in decodable:
                print(f"{path.name}: the gguf package has no decoder")
                continue
            raw = np.ascontiguousarray(tensor.data).view(np.uint8).reshape(int(tensor.shape[1]), -1)
            wrong = differences(dequantize(path, "bits.weight", out), oracle(raw, tensor.tensor_type))
            compared.add(tensor.tensor_type)
            if wrong:
                failures.append(f"{path.name}: {wrong} values of bits.weight differ")

        fresh = Path(folder) / "fresh.gguf"
        blocks = {kind: random_blocks(kind, rng) for kind in sorted(compared)}
        writer = gguf.GGUFWriter(fresh, "test")
        for kind, raw in blocks.items():
            writer.add_tensor(kind.name, raw, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        for kind, raw in blocks.items():
            wrong = differences(dequantize(fresh, kind.name, out), oracle(raw, kind))
            if wrong:
                failures.append(f"{kind.name}: {wrong} values of fresh random blocks differ")

    print(f"{len(compared)} types compared with gguf's decoders: {', '.join(k.name for k in sorted(compared))}")
    for failure in failures:
        print("FAIL", failure)
    return 1 if failures or len(compared) < 20 else 0


if __name__ == "__main__":
    sys.exit(main())
