#!/usr/bin/env python3
"""The rules of the house that a machine can check (HACKING.md, "Rules"):

  - which folder may include from which, and that the library needs nothing but the standard library
    and the system (third-party headers belong to the program, the tests and the benchmarks);
  - no hand-written file is longer than 600 lines;
  - every header has #pragma once; every header, test and example opens with a comment on what it is for;
  - every format file is in quant_types.def and every instruction set in list.def, and the other way round;
  - links lead to known places, and no path of one machine is left in a file.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAX_LINES = 600

# Folder -> what its files may include with quotes, as prefixes of the path in the #include line. The
# longest folder that matches a file counts. A name without a folder is a neighbour of the file.
PUBLIC = "quantlinear/"
KERNEL = ["cpu/isa/", "cpu/kernels/", "cpu/kernel_table.hpp", "cpu/activations.hpp", "cpu/interleaved_layout.hpp", "formats/",
          "quantlinear/quant_type.hpp", "quantlinear/precision.hpp"]
LAYERS = {
    "include/quantlinear": [PUBLIC],
    "src/formats": ["formats/", "quantlinear/quant_type.hpp"],
    "src/gguf": ["gguf/", "core/huge_pages.hpp", "core/printable.hpp", PUBLIC],
    "src/core": ["core/", "formats/", PUBLIC],
    "src/reference": ["reference/", "core/", PUBLIC],
    "src/cpu": ["cpu/", "core/", "formats/", PUBLIC],
    "src/cpu/isa": KERNEL,
    "src/cpu/kernels": KERNEL,
    "tools/qlinear": ["limits/limits.hpp", PUBLIC],
    "examples": [PUBLIC],
    "tests/install": [],
    "tests": ["core/", "cpu/", "formats/", "gguf/", "reference/", PUBLIC],
    "bench": ["limits/limits.hpp", PUBLIC],
    "fuzz": ["formats/", "gguf/", PUBLIC],
}
# Tests that see the library as a user does.
API_ONLY = re.compile(r"tests/api\w*_test\.cpp$")
OPENS_WITH_COMMENT = re.compile(r"\.hpp$|_test\.cpp$|^(examples|fuzz)/")
# Code that is compiled for one instruction set must not pull in the library's templates and inline
# functions: only headers whose functions the compiler knows, or that have none.
FREESTANDING = {"array", "bit", "cfloat", "climits", "cmath", "concepts", "cstddef", "cstdint", "cstring", "limits",
                "span", "type_traits", "utility", "immintrin.h", "arm_neon.h", "arm_sve.h"}
FREESTANDING_FOLDERS = ("src/formats", "src/cpu/isa", "src/cpu/kernels")
SYSTEM = re.compile(r"[a-z_]+|c[a-z]+|(sys|linux|asm)/[a-z_]+\.h|(fcntl|unistd|sched|pthread|cpuid|immintrin|arm_neon)\.h")
LIBRARY = ("include/", "src/")

URL = re.compile(r"https?://([A-Za-z0-9-]+\.[A-Za-z0-9.-]+)")
KNOWN_HOSTS = {"github.com", "git-lfs.github.com", "keepachangelog.com", "semver.org",
               "www.w3.org"}
MACHINE_PATH = re.compile(r"(?<![\w./$}-])/(?:work|root|home|Users|mnt)/\w")
TEXT = {".cpp", ".hpp", ".def", ".py", ".sh", ".cmake", ".in", ".txt", ".md", ".json", ".yml", ""}
SKIPPED = {".git", ".cache", "__pycache__", "corpus", "golden"}


def files() -> list[pathlib.Path]:
    found = []
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        if path.is_file() and not SKIPPED.intersection(parts) and not parts[0].startswith("build") \
                and path.suffix in TEXT:
            found.append(path)
    return found


def layer_of(name: str) -> list[str] | None:
    folder = max((f for f in LAYERS if name.startswith(f + "/")), key=len, default=None)
    return None if folder is None else LAYERS[folder]


def check_includes(name: str, text: str) -> list[str]:
    allowed = layer_of(name)
    if allowed is None:
        return [f"{name}: no rule says what this folder may include (scripts/check_layers.py)"]
    if API_ONLY.search(name):
        allowed = [PUBLIC, "support/"]
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
        if not match:
            continue
        kind, target = match.groups()
        where = f"{name}:{number}"
        if kind == '"' and "/" in target and not any(target.startswith(prefix) for prefix in allowed):
            neighbour = (ROOT / name).parent / target
            if not neighbour.is_file() or layer_of(str(neighbour.resolve().relative_to(ROOT))) is not allowed:
                found.append(f"{where}: may not include {target} (allowed: {', '.join(allowed) or 'nothing of ours'})")
        elif kind == '"' and "/" not in target and not any((ROOT / name.split("/")[0]).rglob(target)):
            found.append(f"{where}: {target} is no neighbour of this file; name its folder")
        elif kind == "<" and name.startswith(FREESTANDING_FOLDERS) and target not in FREESTANDING:
            found.append(f"{where}: <{target}> may not be compiled for one instruction set")
        elif kind == "<" and name.startswith(LIBRARY) and not SYSTEM.fullmatch(target):
            found.append(f"{where}: the library depends on nothing, so not on <{target}>")
    return found


def check_lists() -> list[str]:
    def listed(path: str, macro: str, field: int) -> set[str]:
        rows = re.findall(rf"^{macro}\(([^)]*)\)", (ROOT / path).read_text(), re.M)
        return {row.split(",")[field].strip() for row in rows}

    found = []
    formats = listed("include/quantlinear/quant_types.def", "QL_QUANT_TYPE", 1)
    found += [f"src/formats/{name}.hpp: in quant_types.def, but there is no such file"
              for name in sorted(formats) if not (ROOT / f"src/formats/{name}.hpp").is_file()]
    for path in sorted((ROOT / "src/formats").glob("*.hpp")):
        if "kBlockBytes =" in path.read_text() and path.stem not in formats:
            found.append(f"src/formats/{path.name}: a format that is not in quant_types.def")
    found += [f"src/cpu/isa/{name}.hpp: in isa/list.def, but there is no such file"
              for name in sorted(listed("src/cpu/isa/list.def", "QL_ISA", 0))
              if not (ROOT / f"src/cpu/isa/{name}.hpp").is_file()]
    return found


def main() -> int:
    found, longest = check_lists(), (0, "")
    for path in files():
        name, text = str(path.relative_to(ROOT)), path.read_text(errors="replace")
        lines = text.count("\n")
        longest = max(longest, (lines, name))
        if lines > MAX_LINES:
            found.append(f"{name}: {lines} lines; the ceiling is {MAX_LINES}")
        if path.suffix in (".cpp", ".hpp"):
            found += check_includes(name, text)
            if OPENS_WITH_COMMENT.search(name) and not text.startswith("//"):
                found.append(f"{name}: does not open with a comment on what it is for")
            if path.suffix == ".hpp" and "#pragma once" not in text:
                found.append(f"{name}: no #pragma once")
        for number, line in enumerate(text.splitlines(), 1):
            found += [f"{name}:{number}: link to {host}, which is not among the known hosts"
                      for host in URL.findall(line) if host not in KNOWN_HOSTS]
            if MACHINE_PATH.search(line):
                found.append(f"{name}:{number}: the path of one machine")
    for fault in found:
        print(fault, file=sys.stderr)
    print(f"layers: {len(found)} faults; longest file {longest[1]}, {longest[0]} lines")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
