#!/usr/bin/env python3
"""Looks into the kernel objects of a build: code for AVX2 and the like must not get out of them.

If such an object held a weak symbol (an inline function or template of a shared header), the linker
could keep its copy for the whole program, and the program would crash on a CPU without that
instruction set. If it held a dynamic initialiser, that would run on every CPU at start. So each
object may define one strong symbol, its table, and nothing else that is visible.

    check_isa_symbols.py BUILD [--nm NM]
    check_isa_symbols.py --self-test
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile


def faults(objects: list[pathlib.Path], nm: str) -> list[str]:
    found = []
    for path in objects:
        # avx2_q4_k.cpp.o holds the table kernels_avx2_Q4_K; avx2_prepare.cpp.o holds prepare_row_avx2.
        stem = path.name.removesuffix(".cpp.o")
        prepares = stem.endswith("_prepare")
        table = f"prepare_row_{stem.removesuffix('_prepare')}" if prepares else f"kernels_{stem}"
        listing = subprocess.run([nm, "--defined-only", "--format=posix", path], capture_output=True, text=True,
                                 check=True).stdout
        strong = []
        for line in listing.splitlines():
            name, kind = line.split()[:2]
            if kind in "WVwvu":
                found.append(f"{path.name}: weak symbol {name}")
            elif "_GLOBAL__sub_I" in name or "__cxx_global_var_init" in name:
                found.append(f"{path.name}: code that runs before main: {name}")
            elif kind.isupper():
                strong.append(name)
        if len(strong) != 1 or table not in strong[0].lower():
            found.append(f"{path.name}: strong symbols {strong}, expected only its table {table}")
    return found


def self_test() -> list[str]:
    """An object with each fault must be found out."""
    bad = "#include <vector>\nstd::vector<int> kernels_bad(int n) { std::vector<int> v; v.resize(n); return v; }\n" \
          "inline int shared(int x) { return x * x; } int (*volatile keep)(int) = shared; int late = keep(3);\n"
    with tempfile.TemporaryDirectory() as folder:
        source, out = pathlib.Path(folder, "bad.cpp"), pathlib.Path(folder, "bad.cpp.o")
        source.write_text(bad)
        subprocess.run(["g++", "-O0", "-c", source, "-o", out], check=True)
        text = "\n".join(faults([out], "nm"))
    return [f"self-test: not noticed: {word}" for word in ("weak symbol", "before main", "strong symbols") if
            word not in text]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", type=pathlib.Path)
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if options.self_test:
        found, looked_at = self_test(), "the self-test"
    elif options.build:
        objects = sorted(options.build.glob("**/generated/kernels/*.cpp.o"))
        found, looked_at = faults(objects, options.nm), f"{len(objects)} kernel objects"
        if not objects:
            found = [f"{options.build}: no kernel objects"]
    else:
        parser.error("name a build folder")
    for fault in found:
        print(fault, file=sys.stderr)
    print(f"{looked_at}: {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
