#!/usr/bin/env python3
"""The README's table of weight types and where they run, made from the lists in the source.

    formats_table.py                    prints the table
    formats_table.py --check README.md  fails if the README has another one
    formats_table.py --write README.md  puts it into the README
"""
import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- formats: made by scripts/formats_table.py -->\n", "<!-- end of formats -->\n"


def entries(path: str, macro: str) -> list[list[str]]:
    text = (ROOT / path).read_text()
    return [[field.strip() for field in line.split(",")] for line in re.findall(rf"^{macro}\((.*)\)$", text, re.M)]


def constant(source: str, name: str) -> int:
    return int(re.search(rf"\b{name} = (\d+);", source).group(1))


def table() -> str:
    sets = [entry[0] for entry in entries("src/cpu/isa/list.def", "QL_ISA")]
    columns = ["weights", "bytes", "bits per weight", "`ReferenceBackend`", *[f"`CpuBackend` {name}" for name in sets]]
    lines = [f"| type | {' | '.join(columns)} |", "|---|" + "--:|" * 3 + ":-:|" * (len(columns) - 3)]
    for name, file, _ in entries("include/quantlinear/quant_types.def", "QL_QUANT_TYPE"):
        source = (ROOT / f"src/formats/{file}.hpp").read_text()
        weights, size = constant(source, "kBlockElements"), constant(source, "kBlockBytes")
        cells = [str(weights), str(size), f"{8 * size / weights:g}", *["yes"] * (1 + len(sets))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=pathlib.Path, metavar="README")
    parser.add_argument("--write", type=pathlib.Path, metavar="README")
    options = parser.parse_args()
    path = options.check or options.write
    if path is None:
        print(table(), end="")
        return 0
    text = path.read_text()
    before, found, rest = text.partition(BEGIN)
    old, ended, after = rest.partition(END)
    if not found or not ended:
        print(f"{path}: the marks {BEGIN.strip()} and {END.strip()} are missing", file=sys.stderr)
        return 1
    if options.write:
        path.write_text(before + BEGIN + table() + END + after)
    elif old != table():
        print(f"{path}: the table of types is not that of the source; scripts/formats_table.py --write {path}",
              file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
