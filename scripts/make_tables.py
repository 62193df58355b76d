#!/usr/bin/env python3
"""Writes src/formats/tables/*.hpp, the code books of the IQ formats, from the .tsv files beside them.

The .tsv files list the facts of the formats, one row an index and its values. The headers pack the
values of an index into one integer, lowest byte first, so that a kernel builds a register from whole
look-ups. Run it after changing a .tsv; `./check style` compares.
"""
import pathlib
import sys

TABLES = pathlib.Path(__file__).resolve().parent.parent / "src" / "formats" / "tables"

# name: (bits of an entry, what is packed, how one value becomes a byte)
BOOKS = {
    "iq1_grid": (64, "8 values -1, 0, 1 as 8 * value + 8", lambda v: 8 * v + 8),
    "iq2_xxs_grid": (64, "8 magnitudes", lambda v: v),
    "iq2_xs_grid": (64, "8 magnitudes", lambda v: v),
    "iq2_s_grid": (64, "8 magnitudes", lambda v: v),
    "iq3_xxs_grid": (32, "4 magnitudes", lambda v: v),
    "iq3_s_grid": (32, "4 magnitudes", lambda v: v),
}


def rows(name):
    for line in (TABLES / f"{name}.tsv").read_text().splitlines():
        if line and not line.startswith("#"):
            index, *values = (int(field) for field in line.split("\t"))
            yield index, values


def header(name):
    bits, what, to_byte = BOOKS[name]
    entries = []
    for index, values in rows(name):
        assert index == len(entries) and len(values) * 8 == bits, name
        entries.append(sum(to_byte(v) << (8 * i) for i, v in enumerate(values)))
    suffix, per_line = ("u", 8) if bits == 32 else ("u", 5)
    lines = [
        f"    {', '.join(f'0x{e:0{bits // 4}x}{suffix}' for e in entries[i:i + per_line])},"
        for i in range(0, len(entries), per_line)
    ]
    return "\n".join([
        f"// Generated from {name}.tsv by scripts/make_tables.py: {what}, lowest byte first.",
        "#pragma once", "", "#include <cstdint>", "",
        "namespace quantlinear::formats {", "namespace {", "",
        "// clang-format off",
        f"inline constexpr std::uint{bits}_t {name}[{len(entries)}] = {{", *lines, "};",
        "// clang-format on", "",
        "}  // namespace", "}  // namespace quantlinear::formats", ""])


def main():
    wrong = 0
    for name in BOOKS:
        path, text = TABLES / f"{name}.hpp", header(name)
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != text:
                print(f"{path}: differs from {name}.tsv", file=sys.stderr)
                wrong = 1
        else:
            path.write_text(text)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
