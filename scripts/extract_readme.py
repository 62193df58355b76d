#!/usr/bin/env python3
"""Takes the README at its word.

    extract_readme.py README.md OUT.cpp             writes its one C++ example
    extract_readme.py --commands README.md QLINEAR  every command of its shell blocks exists: scripts
                                                    by path, sub-commands of the program by --help
"""
import pathlib
import re
import subprocess
import sys


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def write_example(readme: pathlib.Path, out: pathlib.Path) -> int:
    examples = blocks(readme.read_text(), "cpp")
    if len(examples) != 1:
        print(f"{readme}: {len(examples)} C++ blocks, expected 1", file=sys.stderr)
        return 1
    lines = examples[0].count("\n")
    out.write_text(examples[0])
    print(f"{readme}: the example has {lines} lines")
    return 0


def check_commands(readme: pathlib.Path, program: str) -> int:
    failed = checked = 0
    for line in "".join(blocks(readme.read_text(), "sh")).splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        checked += 1
        if words[0].startswith("./"):
            good = (readme.parent / words[0]).is_file()
        elif words[0] in ("qlinear", "build/qlinear"):
            arguments = words[1:2] if len(words) > 1 and words[1][0] != "-" else []
            help_text = subprocess.run([program, *arguments, "--help"], capture_output=True, text=True, check=False)
            flags = [word for word in words if word.startswith("--")]
            good = help_text.returncode == 0 and all(flag in help_text.stdout for flag in flags)
        else:
            good = words[0] in ("cmake", "ctest", "git")
        if not good:
            print(f"{readme}: this command does not exist as written: {line}", file=sys.stderr)
            failed += 1
    print(f"{readme}: {checked} commands")
    return 1 if failed or not checked else 0


def main() -> int:
    if len(sys.argv) == 4 and sys.argv[1] == "--commands":
        return check_commands(pathlib.Path(sys.argv[2]), sys.argv[3])
    if len(sys.argv) == 3:
        return write_example(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
