#!/usr/bin/env python3
"""Draws the roofline plot of docs/performance.md from the JSON of compare_peers.

    plot_roofline.py peers.json [another_run.json ...] roofline.svg [--types q4_k,q6_k] [--shape 4096x4096] [--threads 1] [--isa avx2]

Across: multiply-adds per byte of weights read, that is m times 8 / bits per weight. Up: multiply-adds per
second. Lines: what the machine can do at most, measured in the same run. Filled: ours; hollow: the best peer.
"""

import argparse
import math
import pathlib
from xml.sax.saxutils import escape

import runs

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#444444", "#8c510a"]
WIDTH, HEIGHT = 980, 640
LEFT, RIGHT, TOP, BOTTOM = 78, 210, 56, 66
STYLE = (
    "text{font-family:'DejaVu Sans',Helvetica,Arial,sans-serif;font-size:13px;fill:#222}"
    ".title{font-size:17px;font-weight:bold}.small{font-size:11.5px}.grid{stroke:#e4e4e4}"
    ".roof{stroke:#222;stroke-width:2;fill:none}.peer{stroke-dasharray:4 4}"
)
# Sequences that are no roof of their own: the same operand, more widening steps.
ROOFS = {
    "f32": ("vfmadd231ps", "fmla"),
    "int16": ("vpmaddwd", "vpdpwssd", "smlal"),
    "int8": ("vpmaddubsw", "vpdpbusd", "sdot", "smmla"),
}
INCLUDED = {
    "avx2": {"avx2"},
    "avxvnni": {"avx2", "avxvnni"},
    "dotprod": {"neon", "dotprod"},
}


class Axes:
    """Logarithmic axes, and the SVG elements drawn so far."""

    def __init__(self, x_range, y_range):
        self.x_range, self.y_range = x_range, y_range
        self.parts = []

    @staticmethod
    def _scale(value, low, high):
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))

    def x(self, value):
        return LEFT + self._scale(value, *self.x_range) * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        return HEIGHT - BOTTOM - self._scale(value, *self.y_range) * (HEIGHT - TOP - BOTTOM)

    def add(self, element):
        self.parts.append(element)

    def text(self, x, y, text, anchor="start", css="", turn=None):
        turned = f' transform="rotate({turn:.1f} {x:.1f} {y:.1f})"' if turn else ""
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}"{turned}>{escape(text)}</text>')

    def line(self, points, css="", colour=None, width=1.0):
        path = " ".join(f"{self.x(px):.1f},{self.y(py):.1f}" for px, py in points)
        stroke = f' stroke="{colour}"' if colour else ""
        self.add(f'<polyline points="{path}" class="{css}" fill="none" stroke-width="{width}"{stroke}/>')

    def marker(self, x, y, colour, kind):
        """Draws a point at pixels (x, y): a8 is a disc, interleaved a triangle, a16 a diamond, f32 a square, a
        peer a ring."""
        if kind == "peer":
            self.add(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="#fff" stroke="{colour}" stroke-width="1.8"/>')
        elif kind == "a8":
            self.add(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')
        elif kind == "a8 repack":
            corners = f"{x - 5.5:.1f},{y + 4.5:.1f} {x + 5.5:.1f},{y + 4.5:.1f} {x:.1f},{y - 6:.1f}"
            self.add(f'<polygon points="{corners}" fill="{colour}"/>')
        else:
            turned = f' transform="rotate(45 {x:.1f} {y:.1f})"' if kind == "a16" else ""
            self.add(f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour}"{turned}/>')


def roofs_of(limits, isa):
    """The best rate of every operand, in GMAC/s of all threads together, with its name."""
    found = {}
    for operand, prefixes in ROOFS.items():
        for rate in limits["rates"]:
            if isa in INCLUDED and rate["isa"] not in INCLUDED[isa]:
                continue
            if not rate["name"].startswith(prefixes) or "vpaddw" in rate["name"]:
                continue  # int16 sums that are never widened overflow: no product can be computed so
            value = rate["gmac_per_s"] * limits["threads"]
            if value > found.get(operand, (0, ""))[0]:
                found[operand] = (value, rate["name"].split(" +")[0].split(",")[0])
    return found


def series_of(case, seconds):
    """(kind, GMAC/s) of the best peer and of every precision and layout of ours; `seconds` names the field."""
    macs = case["n"] * case["k"] * case["m"]
    timed = [entrant for entrant in case["entrants"] if "median_s" in entrant]
    peers = [entrant[seconds] for entrant in timed if not entrant["precision"]]
    points = [("peer", macs / min(peers) / 1e9)] if peers else []
    return points + [(e["name"].removeprefix("ours "), macs / e[seconds] / 1e9) for e in timed if e["precision"]]


def collect(cases, types, seconds):
    """{type: {kind: [(multiply-adds per byte, GMAC/s)]}}, in the order of `types`."""
    lines = {name: {} for name in types}
    for case in sorted(cases, key=lambda case: case["m"]):
        intensity = case["n"] * case["k"] * case["m"] / case["weight_bytes"]
        for kind, rate in series_of(case, seconds):
            lines[case["type"]].setdefault(kind, []).append((intensity, rate))
    return lines


def draw_grid(axes):
    for decade in range(-1, 5):
        for step in (1, 2, 5):
            value = step * 10.0**decade
            if axes.x_range[0] <= value <= axes.x_range[1]:
                axes.line([(value, axes.y_range[0]), (value, axes.y_range[1])], css="grid")
                axes.text(axes.x(value), HEIGHT - BOTTOM + 18, f"{value:g}", "middle", "small")
            if axes.y_range[0] <= value <= axes.y_range[1]:
                axes.line([(axes.x_range[0], value), (axes.x_range[1], value)], css="grid")
                axes.text(LEFT - 8, axes.y(value) + 4, f"{value:g}", "end", "small")
    axes.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 44, "multiply-adds per byte of weights", "middle")
    axes.text(22, (TOP + HEIGHT - BOTTOM) / 2, "GMAC/s", "middle", turn=-90)


def draw_roofs(axes, limits, isa):
    read = limits["read_gb_s"]
    roofs = roofs_of(limits, isa)
    top = max(value for value, _ in roofs.values())
    start = max(axes.x_range[0], axes.y_range[0] / read)
    axes.line([(start, read * start), (top / read, top)], css="roof")
    slope = math.degrees(math.atan2(axes.y(read * start) - axes.y(top), axes.x(top / read) - axes.x(start)))
    middle = math.sqrt(start * top / read)
    axes.text(axes.x(middle) - 8, axes.y(read * middle) - 8, f"streamed read {read:.1f} GB/s", "middle", "small", -slope)
    for operand, (value, name) in roofs.items():
        axes.line([(value / read, value), (axes.x_range[1], value)], css="roof")
        axes.text(WIDTH - RIGHT + 6, axes.y(value) + 4, f"{operand}: {name} {value:.0f}", css="small")


def draw_legend(axes, lines):
    """In the lower right corner, where no product can be: many rows and slow."""
    shown = {kind for kinds in lines.values() for kind in kinds}
    labels = {
        "a8": "ours, a8",
        "a8 repack": "interleaved",
        "a16": "ours, a16",
        "f32": "ours, f32",
        "peer": "best peer",
    }
    kinds = [(kind, label) for kind, label in labels.items() if kind in shown]
    named = [(index, name) for index, (name, found) in enumerate(lines.items()) if found]
    rows = len(kinds) + len(named)
    x, y = WIDTH - RIGHT - 122, HEIGHT - BOTTOM - 20 * rows - 22
    axes.add(f'<rect x="{x}" y="{y}" width="112" height="{20 * rows + 12}" fill="#fff" stroke="#ccc"/>')
    y += 20
    for index, name in named:
        colour = COLOURS[index % len(COLOURS)]
        axes.add(f'<rect x="{x + 10}" y="{y - 10}" width="14" height="10" fill="{colour}"/>')
        axes.text(x + 32, y, name.upper())
        y += 20
    for kind, label in kinds:
        axes.marker(x + 17, y - 5, "#444444", kind)
        axes.text(x + 32, y, label)
        y += 20


def draw(data, options):
    n, k = (int(part) for part in options.shape.split("x"))
    types = options.types.split(",")
    cases = [
        case
        for case in data["cases"]
        if case["type"] in types and (case["n"], case["k"], case["threads"]) == (n, k, options.threads)
    ]
    if not cases:
        raise SystemExit("plot_roofline.py: the file has no such cases")
    limits = next(entry for entry in data["limits"] if entry["threads"] == options.threads)
    lines = collect(cases, types, f"{options.by}_s")
    points = [point for kinds in lines.values() for line in kinds.values() for point in line]
    highest = max(value for value, _ in roofs_of(limits, options.isa).values())
    axes = Axes(
        (min(x for x, _ in points) / 1.4, max(x for x, _ in points) * 1.4),
        (min(y for _, y in points) / 1.6, highest * 1.6),
    )
    draw_grid(axes)
    draw_roofs(axes, limits, options.isa)
    for index, kinds in enumerate(lines.values()):
        colour = COLOURS[index % len(COLOURS)]
        for kind, line in sorted(kinds.items(), reverse=True):
            axes.line(line, "peer" if kind == "peer" else "", colour, 1.4)
            for x, y in line:
                axes.marker(axes.x(x), axes.y(y), colour, kind)
    draw_legend(axes, lines)
    plural = "" if options.threads == 1 else "s"
    axes.text(LEFT, 32, f"y[m,{n}] = x[m,{k}] W^T on {options.threads} thread{plural}", css="title")
    body = "\n".join(axes.parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">\n'
        f'<style>{STYLE}</style>\n<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=pathlib.Path, nargs="+")
    parser.add_argument("svg", type=pathlib.Path)
    parser.add_argument("--types", default="q4_k,q5_k,q6_k,q8_0,q4_0")
    parser.add_argument("--shape", default="4096x4096")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--by", choices=["median", "best"], default="median")
    parser.add_argument("--isa", default="", help="roofs of this instruction set only")
    options = parser.parse_args()
    options.svg.write_text(draw(runs.load(options.json), options))


if __name__ == "__main__":
    main()
