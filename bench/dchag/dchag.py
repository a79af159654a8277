#!/usr/bin/env python3
"""Compare ways to aggregate channels on a tensor axis: memory, traffic and speed.

Runs bench_dchag for every number of channels, number of ranks and mode, prints a table beside the
tensor-parallel baseline of the same channels and ranks, and writes dchag.csv and dchag.svg.

  bench/dchag/dchag.py             the whole grid, some 15 minutes
  bench/dchag/dchag.py --quick     a tiny one
  bench/dchag/dchag.py --channels 512 --ranks 4 --modes baseline,dchag_l0 --repeat 3

Memory is that of the rank that has most of it; its total is the sum of the ledger's peaks by kind.
Sent bytes are what a rank hands to collectives in a step. Points that need more memory than there
may be are left out, and stand in the table as such.
"""

import argparse
import csv
import json
import math
import statistics
import sys
from pathlib import Path

from plot import svg_of

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from common import Failure, build, call, mpirun, numbers, words  # noqa: E402

BASELINE = "baseline"
KINDS = ["parameters", "gradients", "optimizer", "activations", "workspace", "ingest",
         "communication"]
COLLECTIVES = ["all_gather", "all_reduce", "reduce_scatter"]
COLUMNS = (
    ["channels", "ranks", "mode", "status", "note", "batch", "tokens", "dim", "depth", "threads",
     "repeats", "parameters", "gflop"]
    + [f"{kind}_bytes" for kind in KINDS]
    + ["ledger_bytes", "predicted_bytes", "predicted_total_bytes", "rss_bytes", "rss_all_bytes"]
    + [f"{phase}_{what}" for phase in ("forward", "backward")
       for what in ["sent_bytes"] + [f"{collective}_{unit}" for collective in COLLECTIVES
                                     for unit in ("calls", "bytes")]]
    + ["step_seconds", "fastest_step_seconds", "samples_per_second", "loss",
       "activations_ratio", "ledger_ratio", "samples_per_second_ratio"])
QUICK = {"channels": [8, 16], "ranks": [2], "dim": 32, "depth": 1, "heads": 4, "size": 16,
         "steps": 1}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--channels", type=numbers, help="default 64,256,512,1024")
    add("--ranks", type=numbers, help="default 1,2,4,8")
    add("--modes", type=words, help="default: all of bench_dchag")
    for name, default in [("dim", 256), ("depth", 4), ("heads", 8), ("patch", 4), ("size", 64),
                          ("batch", 2), ("steps", 3)]:
        add(f"--{name}", type=int, help=f"default {default}")
    add("--partitions", type=int, default=0, help="of D-CHAG; default: as many as ranks")
    add("--repeat", type=int, default=1, help="runs of each point, of which medians are taken")
    add("--memory-limit", type=float, default=20, metavar="GIB",
        help="leave out points whose ranks together need more; default 20")
    add("--timeout", type=float, default=600, help="seconds a run may take; default 600")
    add("--out", type=Path, default=Path("dchag-results"), help="folder of dchag.csv and dchag.svg")
    add("--program", type=Path, help="default: bench_dchag of the preset release, built first")
    add("--mpirun", default="mpirun")
    add("--quick", action="store_true", help="a grid of seconds, to test the bench")
    arguments = parser.parse_args()
    defaults = {"channels": [64, 256, 512, 1024], "ranks": [1, 2, 4, 8], "dim": 256, "depth": 4,
                "heads": 8, "patch": 4, "size": 64, "batch": 2, "steps": 3}
    if arguments.quick:
        defaults.update(QUICK)
    for name, value in defaults.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    return arguments


def call_json(command, timeout):
    lines = [line for line in call(command, timeout).splitlines() if line.startswith("{")]
    if not lines:
        raise Failure("no result")
    return json.loads(lines[-1])


def available_bytes():
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return math.inf


class Grid:
    """The points in a fixed order, and what is known of each."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.modes = arguments.modes or call([arguments.program, "--list-modes"], 60).split()
        self.rows = []

    def options(self, channels, mode):
        a = self.arguments
        options = ["--channels", channels, "--mode", mode, "--partitions", a.partitions]
        for name in ("dim", "depth", "heads", "patch", "size", "batch", "steps"):
            options += [f"--{name}", getattr(a, name)]
        return options

    def make_row(self, channels, ranks, mode):
        a = self.arguments
        row = {"channels": channels, "ranks": ranks, "mode": mode, "status": "ok", "note": "",
               "batch": a.batch, "tokens": (a.size // a.patch) ** 2, "dim": a.dim,
               "depth": a.depth, "runs": []}
        try:
            predicted = call_json([a.program, *self.options(channels, mode), "--predict",
                                   "--ranks", ranks], 60)
        except Failure as failure:
            row.update(status="failed", note=str(failure))
            return row
        total = predicted["predicted_total_bytes"]
        row["predicted_total_bytes"] = total
        row["predicted_bytes"] = predicted["predicted_rank_bytes"]
        limit = a.memory_limit * 2**30
        if total > limit:
            row.update(status="skipped", note=f"needs {total / 2**30:.1f} GiB in all, "
                                              f"--memory-limit is {a.memory_limit:g}")
        return row

    def run_once(self, row):
        a = self.arguments
        if row["predicted_total_bytes"] > available_bytes():
            row.update(status="skipped", note=f"needs {row['predicted_total_bytes'] / 2**30:.1f} "
                                              f"GiB in all, {available_bytes() / 2**30:.1f} free")
            return
        command = [*mpirun(a.mpirun, row["ranks"]), a.program,
                   *self.options(row["channels"], row["mode"])]
        try:
            row["runs"].append(call_json(command, a.timeout))
        except Failure as failure:
            row.update(status="failed", note=str(failure))

    def run_group(self, channels, ranks):
        """All modes of one number of channels and ranks; repetitions are interleaved."""
        group = [self.make_row(channels, ranks, mode) for mode in self.modes]
        for _ in range(self.arguments.repeat):
            for row in group:
                if row["status"] == "ok":
                    self.run_once(row)
        for row in group:
            combine(row)
        compare(group)
        self.rows += group
        return group


def combine(row):
    """Make one result of the runs of a point: median times, the most of everything else."""
    runs = row.pop("runs")
    if row["status"] != "ok":
        return
    for key in runs[0]:
        if isinstance(runs[0][key], (int, float)):
            row[key] = max(run[key] for run in runs)
    row["step_seconds"] = statistics.median(run["step_seconds"] for run in runs)
    row["fastest_step_seconds"] = min(run["fastest_step_seconds"] for run in runs)
    row["samples_per_second"] = row["batch"] / row["step_seconds"]
    row["repeats"] = len(runs)


def compare(group):
    """Add the ratios to the baseline, if it ran."""
    measured = {row["mode"]: row for row in group if row["status"] == "ok"}
    if BASELINE not in measured:
        return
    for row in measured.values():
        for name, column in [("activations", "activations_bytes"), ("ledger", "ledger_bytes"),
                             ("samples_per_second", "samples_per_second")]:
            row[f"{name}_ratio"] = row[column] / measured[BASELINE][column]


def table_of(group):
    """Text of the rows of one number of channels and ranks."""
    first = group[0]
    threads = next((row["threads"] for row in group if "threads" in row), None)
    lines = [f"{first['channels']} channels, {first['ranks']} rank"
             + ("s" if first["ranks"] > 1 else "")
             + (f" of {threads} compute thread{'s' if threads > 1 else ''}" if threads else ""),
             f"  {'MB a rank':15}{'activations':>20}{'ledger':>17}{'RSS':>9}{'forward':>10}"
             f"{'backward':>10}{'step ms':>10}{'samples/s':>19}"]

    def ratio(row, name):
        value = row.get(f"{name}_ratio")
        return f"{value:7.3f}x" if value is not None else " " * 8

    for row in group:
        if row["status"] != "ok":
            lines.append(f"  {row['mode']:15} {row['status']}: {row['note']}")
            continue
        mb = {key: row[f"{key}_bytes"] / 1e6
              for key in ("activations", "ledger", "rss", "forward_sent", "backward_sent")}
        lines.append(f"  {row['mode']:15}{mb['activations']:12.1f}{ratio(row, 'activations')}"
                     f"{mb['ledger']:9.1f}{ratio(row, 'ledger')}{mb['rss']:9.1f}"
                     f"{mb['forward_sent']:10.2f}{mb['backward_sent']:10.2f}"
                     f"{row['step_seconds'] * 1e3:10.1f}{row['samples_per_second']:10.2f} "
                     f"{ratio(row, 'samples_per_second')}")
    return "\n".join(lines)


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows)


def main():
    arguments = parse_arguments()
    if arguments.program is None:
        arguments.program = (build("bench_dchag", "-DTRIB_BUILD_BENCH=ON")
                             / "bench/bench_dchag")
    elif not arguments.program.exists():
        sys.exit(f"error: no program {arguments.program}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    a = arguments
    title = (f"Channel aggregation: D {a.dim}, depth {a.depth}, "
             f"{(a.size // a.patch) ** 2} tokens, batch {a.batch}")
    print(title)
    grid = Grid(arguments)
    for channels in arguments.channels:
        for ranks in arguments.ranks:
            print("\n" + table_of(grid.run_group(channels, ranks)), flush=True)
            # After every group: a run that is stopped leaves what it has.
            write_csv(arguments.out / "dchag.csv", grid.rows)
            (arguments.out / "dchag.svg").write_text(svg_of(grid.rows, title), encoding="utf-8")
    print(f"\n{arguments.out / 'dchag.csv'}\n{arguments.out / 'dchag.svg'}")
    failed = sum(row["status"] == "failed" for row in grid.rows)
    if failed:
        sys.exit(f"error: {failed} of {len(grid.rows)} points failed")


if __name__ == "__main__":
    main()
