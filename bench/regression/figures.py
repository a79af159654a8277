"""Figures of benches in a CSV file, and what changed between two of them."""

import csv
from dataclasses import astuple, dataclass, fields

# Changes below these are noise: repeated runs of the same program on a quiet machine differ so much.
NOISE = {"B": 0.02, "": 0.10}
OTHER_NOISE = 0.08
# Which rate of the machine a figure of this unit goes with, and how: a rate grows with it, a time
# shrinks. What has another unit does not depend on the machine's speed.
MACHINE_RATE = {"GFLOP/s": ("sgemm", 1), "GB/s": ("copy", 1), "samples/s": ("sgemm", 1),
                "s": ("sgemm", -1)}


@dataclass
class Figure:
    bench: str
    case: str
    metric: str
    value: float
    unit: str
    better: str  # higher or lower
    commit: str = ""
    date: str = ""
    cpu: str = ""
    blas: str = ""

    @property
    def key(self):
        return self.bench, self.case, self.metric


COLUMNS = [field.name for field in fields(Figure)]


def write(path, figures):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for figure in figures:
            row = list(astuple(figure))
            row[3] = f"{figure.value:.6g}"
            writer.writerow(row)


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != COLUMNS:
            raise ValueError(f"{path}: expected the columns {', '.join(COLUMNS)}")
        return [Figure(**{**row, "value": float(row["value"])}) for row in reader]


def machine_rates(figures):
    """Of the machine as it was at the time: {"sgemm": GFLOP/s, "copy": GB/s}."""
    return {figure.metric: figure.value for figure in figures
            if figure.bench == "machine" and figure.case == "all threads"}


@dataclass
class Change:
    old: Figure
    new: Figure
    ratio: float     # new over old, as measured
    adjusted: float  # the same, had the machine been as fast as before
    noise: float

    @property
    def verdict(self):
        gain = self.adjusted if self.new.better == "higher" else 1 / self.adjusted
        if gain < 1 / (1 + self.noise):
            return "worse"
        return "better" if gain > 1 + self.noise else ""


def changes(old, new):
    """Of all figures that are in both, but the machine's own."""
    old_rates, new_rates = machine_rates(old), machine_rates(new)
    before = {figure.key: figure for figure in old}
    result = []
    for figure in new:
        if figure.key not in before or figure.bench == "machine":
            continue
        earlier = before[figure.key]
        if earlier.value == 0:
            continue
        ratio = adjusted = figure.value / earlier.value
        rate, power = MACHINE_RATE.get(figure.unit, ("", 0))
        if rate in old_rates and rate in new_rates:
            adjusted *= (new_rates[rate] / old_rates[rate]) ** -power
        if adjusted <= 0:
            continue
        result.append(Change(earlier, figure, ratio, adjusted,
                             NOISE.get(figure.unit, OTHER_NOISE)))
    return result


def comparison(old, new, all_rows=False):
    """The table of changes as text, and whether anything got worse."""
    lines = []
    old_rates, new_rates = machine_rates(old), machine_rates(new)
    for name in old_rates.keys() & new_rates.keys():
        lines.append(f"machine: {name} {old_rates[name]:.1f} -> {new_rates[name]:.1f}")
    for column in ("commit", "date", "cpu", "blas"):
        values = [next((getattr(f, column) for f in figures), "") for figures in (old, new)]
        lines.append(f"{column}: {values[0]} -> {values[1]}")
    found = changes(old, new)
    rows = [change for change in found if all_rows or change.verdict]
    if rows:
        lines.append(f"\n{'bench':8} {'case':58} {'metric':16} {'old':>10} {'new':>10} {'change':>8} "
                     f"{'adjusted':>8}")
    for change in rows:
        figure = change.new
        lines.append(f"{figure.bench:8} {figure.case:58} {figure.metric:16} "
                     f"{change.old.value:10.4g} {figure.value:10.4g} "
                     f"{100 * (change.ratio - 1):+7.1f}% {100 * (change.adjusted - 1):+7.1f}% "
                     f"{change.verdict}".rstrip())
    keys = {figure.key for figure in old}, {figure.key for figure in new}
    for name, missing in (("gone", keys[0] - keys[1]), ("added", keys[1] - keys[0])):
        if missing:
            lines.append(f"{name}: {len(missing)} figures, such as "
                         f"{' '.join(min(missing))}")
    worse = sum(change.verdict == "worse" for change in found)
    better = sum(change.verdict == "better" for change in found)
    lines.append(f"{len(found)} figures compared: {worse} worse, {better} better beyond noise")
    return "\n".join(lines), worse > 0
