#!/usr/bin/env python3
"""Prints the tables of docs/performance.md from the JSON of compare_peers, in Markdown.

    tables.py peers.json [another_run.json ...] [--brief] [--by best]

One row for each type (and shape, and number of threads, if there are several), one column for each m. With several
files the best time of all runs counts. A cell is

    milliseconds of ours in the file's layout: how many times as fast as the better peer in that layout, as the best
    peer in any layout; milliseconds interleaved: as the best peer in any layout

or with --brief only the second and the last of these ratios. Averages, what is slower, and the share of the limit
measured in the same run, in percent, follow.
"""

import argparse
import math
import pathlib

import runs


def fastest(case, seconds, of_ours, repacked=None):
    """The fastest entrant that is ours, or a peer; `repacked`: whether in its own layout, None: in any."""
    found = [
        entrant
        for entrant in case["entrants"]
        if bool(entrant["precision"]) == of_ours and repacked in (None, entrant["name"].endswith("repack"))
    ]
    return min(found, key=lambda entrant: entrant[seconds], default=None)


def ratios(case, seconds):
    """How many times as fast as the best peer in any layout: in the file's layout, and interleaved, if it was run."""
    peer = fastest(case, seconds, of_ours=False)[seconds]
    ours = [fastest(case, seconds, True, repacked) for repacked in (False, True)]
    return [peer / entrant[seconds] if entrant else None for entrant in ours]


def cell(case, seconds, brief):
    in_file, interleaved = ratios(case, seconds)
    if brief:
        return f"{in_file:.2f}" + (f" / {interleaved:.2f}" if interleaved else "")
    ours = fastest(case, seconds, True, False)[seconds]
    text = f"{ours * 1e3:.3g}: {fastest(case, seconds, False, False)[seconds] / ours:.2f}, {in_file:.2f}"
    if interleaved:
        text += f"; {fastest(case, seconds, True, True)[seconds] * 1e3:.3g}: **{interleaved:.2f}**"
    return text


def label_of(case, cases):
    parts = [case["type"].upper()]
    if len({(other["n"], other["k"]) for other in cases}) > 1:
        parts.append(f"{case['n']} x {case['k']}")
    if len({other["threads"] for other in cases}) > 1:
        parts.append(f"{case['threads']} thread" + "s" * (case["threads"] > 1))
    return ", ".join(parts)


def print_table(cases, seconds, brief):
    columns = sorted({case["m"] for case in cases})
    rows = {}
    for case in cases:
        rows.setdefault(label_of(case, cases), {})[case["m"]] = cell(case, seconds, brief)
    print("| type |" + "".join(f" m = {m} |" for m in columns))
    print("|---|" + "---|" * len(columns))
    for label, cells in rows.items():
        print(f"| {label} |" + "".join(f" {cells.get(m, '-')} |" for m in columns))


def print_ratios(cases, seconds):
    for layout, name in enumerate(("file's layout", "interleaved")):
        found = [(case, ratio) for case in cases if (ratio := ratios(case, seconds)[layout])]
        if not found:
            continue
        values = [ratio for _, ratio in found]
        mean = math.exp(sum(map(math.log, values)) / len(values))
        slower = [f"{label_of(case, cases)} m = {case['m']} {ratio:.2f}" for case, ratio in found if ratio < 0.995]
        print(f"\n{name}: {mean:.2f} on average, {min(values):.2f} to {max(values):.2f}")
        print(f"slower in {len(slower)} of {len(values)}: {', '.join(slower) or 'none'}")


def print_shares(cases, seconds):
    for m in sorted({case["m"] for case in cases}):
        print(f"\nshare of the limit in percent, m = {m}")
        for name, of_ours, repacked in (("file's layout", True, False), ("interleaved", True, True), ("peers", False, None)):
            found = [
                (label_of(case, cases), entrant["share"])
                for case in cases
                if case["m"] == m and (entrant := fastest(case, seconds, of_ours, repacked))
            ]
            if found:
                found.sort(key=lambda item: -item[1])
                print(f"{name}: " + ", ".join(f"{label} {100 * share:.0f}" for label, share in found))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=pathlib.Path, nargs="+")
    parser.add_argument("--brief", action="store_true")
    parser.add_argument("--by", choices=["median", "best"], default="best")
    options = parser.parse_args()
    cases = runs.load(options.json)["cases"]
    seconds = f"{options.by}_s"
    complete = [case for case in cases if all(fastest(case, seconds, of_ours) for of_ours in (True, False))]
    if not complete:
        parser.error("these files have no times of ours and of a peer")
    print_table(complete, seconds, options.brief)
    print_ratios(complete, seconds)
    print_shares(complete, seconds)


if __name__ == "__main__":
    main()
