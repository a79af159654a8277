#!/usr/bin/env python3
"""Draw the losses of runs into one SVG, and print how far they are from those of the first.

    examples/plot_losses.py [-o losses.svg] [-c COLUMN] RUN_FOLDER...

COLUMN is any column of metrics.csv; 'loss' unless given. Needs nothing but Python 3.
"""
import argparse
import csv
import html
import math
import os
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 800, 480, 70, 20, 20, 45
COLORS = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f"]


def read_column(folder, column):
    """{step: value} of the rows that have one."""
    path = os.path.join(folder, "metrics.csv")
    if not os.path.exists(path):
        sys.exit(f"{path}: not found; is {folder} the folder of a run that trains?")
    with open(path, newline="") as file:
        rows = csv.DictReader(file)
        if column not in (rows.fieldnames or []):
            sys.exit(f"{path}: no column '{column}'; there are {', '.join(rows.fieldnames or [])}")
        values = {int(row["step"]): float(row[column]) for row in rows if row[column]}
    if not values:
        sys.exit(f"{path}: no values of '{column}' yet")
    return values


def compare(values, reference):
    """Mean and largest relative difference over the steps both have, and their number."""
    steps = sorted(values.keys() & reference.keys())
    differences = [abs(values[s] - reference[s]) / max(abs(reference[s]), 1e-300) for s in steps]
    if not differences:
        return math.nan, math.nan, 0
    return sum(differences) / len(differences), max(differences), len(differences)


def ticks(low, high, count=6):
    """Round numbers between low and high."""
    rough = (high - low) / count
    size = 10 ** math.floor(math.log10(rough))
    step = next(f * size for f in (1, 2, 5, 10) if f * size >= rough)
    first = math.ceil(low / step)
    return [i * step for i in range(first, math.floor(high / step) + 1)]


def draw(curves, column):
    steps = [s for values in curves.values() for s in values]
    heights = [v for values in curves.values() for v in values.values() if math.isfinite(v)]
    x0, x1 = min(steps), max(max(steps), min(steps) + 1)
    y0, y1 = min(heights), max(heights)
    if y0 == y1:
        y0, y1 = y0 - 0.5, y1 + 0.5

    def x(step):
        return LEFT + (step - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)

    def y(value):
        return HEIGHT - BOTTOM - (value - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>']
    for tick in ticks(x0, x1):
        out.append(f'<path d="M{x(tick):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eee"/>'
                   f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" '
                   f'text-anchor="middle">{tick:g}</text>')
    for tick in ticks(y0, y1):
        out.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}" stroke="#eee"/>'
                   f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" '
               f'text-anchor="middle">step</text>')
    out.append(f'<text x="14" y="{TOP + 4}">{html.escape(column)}</text>')
    # Curves that coincide stay visible: each is thinner than the one below it.
    for i, (name, values) in enumerate(curves.items()):
        points = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in sorted(values.items())
                          if math.isfinite(v))
        color, width = COLORS[i % len(COLORS)], 1 + 2.5 * (len(curves) - 1 - i) / len(curves)
        out.append(f'<polyline points="{points}" fill="none" stroke="{color}" '
                   f'stroke-width="{width:.1f}"/>')
        out.append(f'<text x="{WIDTH - RIGHT - 8}" y="{TOP + 16 * (i + 1)}" text-anchor="end" '
                   f'fill="{color}">{html.escape(name)}</text>')
    return "\n".join(out + ["</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", metavar="RUN_FOLDER")
    parser.add_argument("-o", "--output", default="losses.svg")
    parser.add_argument("-c", "--column", default="loss")
    arguments = parser.parse_args()
    curves = {os.path.normpath(run): read_column(run, arguments.column) for run in arguments.runs}
    reference_name, reference = next(iter(curves.items()))
    last = max(reference)
    print(f"{reference_name}: {len(reference)} values, the last {reference[last]:.6g}")
    for name, values in list(curves.items())[1:]:
        mean, largest, count = compare(values, reference)
        print(f"{name}: {len(values)} values, the last {values[max(values)]:.6g}; relative "
              f"difference over {count} steps: mean {mean:.3g}, largest {largest:.3g}")
    with open(arguments.output, "w") as file:
        file.write(draw(curves, arguments.column))
    print(f"drawn into {arguments.output}")


if __name__ == "__main__":
    main()
