#!/usr/bin/env python3
"""Compare the sharding strategies: step time, memory, traffic, overlap.

Trains a masked autoencoder on synthetic images with `trib run` for every number of ranks, strategy,
prefetch and recompute, the batch of all ranks together being the same. Prints tables and writes
sharding.csv.

  bench/sharding/sharding.py            a sensible part of the grid
  bench/sharding/sharding.py --all      all of it
  bench/sharding/sharding.py --quick    a tiny one
  bench/sharding/sharding.py --ranks 4 --strategies none,full --repeat 5

Memory and traffic must be those of the formulas, to the byte; if a row is not, the exit code is 1.
Repetitions are interleaved and medians printed. A hybrid is full over pairs (4 ranks: 2 x 2) or
fours (8 ranks: 2 x 4).
"""

import argparse
import csv
import json
import statistics
import sys
import tempfile
from pathlib import Path

from formulas import (KINDS, PARTS, fixed_elements, formulas, ring_bytes, textbook_volume,
                      unit_sizes)
from hidden import overlap_of
from tables import name_of, print_memory, print_overlap, print_times, print_traffic

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from common import Failure, build, call, mpirun, numbers, words  # noqa: E402

STRATEGIES = ["none", "grad_op", "full", "hybrid"]
PREFETCHES = ["none", "backward_pre", "backward_post"]
RECOMPUTES = ["none", "block"]
HYBRID_DATA = {4: 2, 8: 2}  # replicas of the shards
OPTIONS = {"dim": 192, "depth": 6, "heads": 4, "decoder_dim": 96, "decoder_depth": 2, "patch": 4,
           "size": 32, "channels": 8, "batch": 16, "steps": 12, "skip": 3}
QUICK = {"dim": 32, "depth": 2, "decoder_dim": 16, "decoder_depth": 1, "size": 16, "channels": 3,
         "batch": 4, "steps": 4, "skip": 1}
GRAPH = """name: sharding
seed: 7
ingest: {{threads: 1}}
checkpoints: {{keep: 0}}
nodes:
  images:   {{type: read.synthetic, channels: {channels}, size: {size}, items: 4096}}
  batches:  {{type: batch, from: images, size: {batch}}}
  tokens:   {{type: model.tokenize, from: batches, patch: {patch}, dim: {dim}}}
  channels: {{type: model.aggregate, from: tokens, kind: linear}}
  encoder:  {{type: model.encoder, from: channels, depth: {depth}, heads: {heads}}}
  recon:    {{type: model.mae_head, from: encoder, mask_ratio: 0.5, dim: {decoder_dim}, depth: {decoder_depth}}}
  train:    {{type: train, from: recon, steps: {steps}}}
"""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--ranks", type=numbers, help="default 1,2,4,8")
    add("--strategies", type=words, default=STRATEGIES, help="default: all")
    add("--prefetch", type=words, help="default: all for full, what matters most for the others")
    add("--recompute", type=words, help="default: none, and block for none and full")
    for name, default in OPTIONS.items():
        add("--" + name.replace("_", "-"), type=int, help=f"default {default}")
    add("--repeat", type=int, help="runs of each point, of which medians are taken; default 3")
    add("--all", action="store_true", help="every prefetch and recompute of every strategy")
    add("--quick", action="store_true", help="a grid of seconds, to test the bench")
    add("--timeout", type=float, default=300, help="seconds a run may take; default 300")
    add("--out", type=Path, default=Path("sharding-results"), help="folder of sharding.csv")
    add("--program", type=Path, help="default: trib of the preset release, built if missing")
    add("--mpirun", default="mpirun")
    arguments = parser.parse_args()
    defaults = {**OPTIONS, "ranks": [1, 2, 4, 8], "repeat": 3}
    if arguments.quick:
        defaults.update(QUICK, ranks=[1, 2, 4], repeat=1)
        arguments.recompute = arguments.recompute or ["none"]
        arguments.prefetch = arguments.prefetch or ["backward_pre"]
    for name, value in defaults.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    if not 0 <= arguments.skip < arguments.steps:
        parser.error("--skip must leave a step")
    return arguments


def prefetches_of(arguments, strategy, ranks, recompute):
    if strategy == "none" or ranks == 1:
        return ["backward_pre"]  # nothing is gathered
    if arguments.prefetch:
        return arguments.prefetch
    if arguments.all or (strategy == "full" and recompute == "none"):
        return PREFETCHES
    if strategy == "grad_op" and recompute == "none":
        return ["none", "backward_pre"]  # gathers in the forward pass alone
    return ["backward_pre"]


def recomputes_of(arguments, strategy):
    if arguments.recompute:
        return arguments.recompute
    return RECOMPUTES if arguments.all or strategy in ("none", "full") else ["none"]


def points(arguments):
    """The rows of the grid, unmeasured; those of a number of ranks lie together."""
    rows = []
    for ranks in arguments.ranks:
        for strategy in arguments.strategies:
            if strategy == "hybrid" and ranks not in HYBRID_DATA:
                continue
            data = HYBRID_DATA[ranks] if strategy == "hybrid" else 1
            for recompute in recomputes_of(arguments, strategy):
                for prefetch in prefetches_of(arguments, strategy, ranks, recompute):
                    rows.append({"ranks": ranks, "strategy": strategy, "data": data,
                                 "shard": ranks // data, "prefetch": prefetch,
                                 "recompute": recompute, "status": "ok", "note": "", "runs": []})
    return rows


class Grid:
    def __init__(self, arguments, folder):
        self.arguments = arguments
        self.graph = folder / "sharding.yaml"
        self.graph.write_text(GRAPH.format(**vars(arguments)), encoding="utf-8")
        self.folder = folder
        self.units = unit_sizes(arguments)
        self.rows = points(arguments)
        self.runs = 0

    def options(self, row):
        settings = {"mesh.data": row["data"], "mesh.shard": row["shard"],
                    "train.sharding": row["strategy"], "train.prefetch": row["prefetch"],
                    "encoder.recompute": row["recompute"], "recon.recompute": row["recompute"]}
        return [word for item in settings.items() for word in ("--set", "{}={}".format(*item))]

    def plan(self, row):
        """What is known before the run."""
        plan = json.loads(call([self.arguments.program, "validate", "--json", self.graph,
                                *self.options(row)], 60))
        count = sum(sum(unit) for unit in self.units) - fixed_elements(self.arguments)
        if plan["parameters"] != count:
            raise Failure(f"the model has {plan['parameters']} parameters, not {count} as the "
                          "formulas say")
        row["parameters"] = count
        row["whole_bytes"], held, sent = formulas(self.units, row)
        held["activations"] = plan["memory_bytes_per_rank"]["activations"]
        for kind, size in held.items():
            row[f"{kind}_formula_bytes"] = size
        for part, size in sent.items():
            row[f"{part}_formula_bytes"] = size

    def run_once(self, row):
        a = self.arguments
        self.runs += 1
        folder = self.folder / f"run-{self.runs}"
        try:
            if not row["runs"]:
                self.plan(row)
            call([*mpirun(a.mpirun, row["ranks"]), a.program, "run", "--quiet", "--run-dir", folder,
                  self.graph, *self.options(row)], a.timeout)
            row["runs"].append(read_run(folder, a))
        except Failure as failure:
            row.update(status="failed", note=str(failure))

    def run(self):
        for ranks in self.arguments.ranks:
            group = [row for row in self.rows if row["ranks"] == ranks]
            for _ in range(self.arguments.repeat):
                for row in group:
                    if row["status"] == "ok":
                        self.run_once(row)
            for row in group:
                combine(row)
            baselines = {row["recompute"]: row for row in group
                         if row["strategy"] == "none" and row["status"] == "ok"}
            for row in group:
                baseline = baselines.get(row["recompute"])
                if baseline and row["status"] == "ok":
                    row["step_ratio"] = row["step_seconds"] / baseline["step_seconds"]


def read_run(folder, arguments):
    """The figures of a run folder."""
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((folder / "summary.json").read_text())
    for phase in ("forward", "backward"):
        if len({step[f"sent_{phase}_bytes"] for step in steps}) != 1:
            raise Failure(f"steps sent different amounts {phase}")
    ranks = [{kind: rank["memory"][kind]["peak_bytes"] for kind in KINDS}
             for rank in summary["ranks_detail"]]
    sent = {}
    for part, traffic in summary["traffic"].items():
        _, axis, phase = part.split(".")
        if phase in ("forward", "backward") and axis != "world":
            sent[part] = traffic["bytes"] / arguments.steps
    run = {"step_seconds": statistics.median(step["step_seconds"]
                                             for step in steps[arguments.skip:]),
           "peaks": ranks, "sent": sent,
           "loss": steps[-1]["loss"]}
    run.update(overlap_of(json.loads((folder / "trace.json").read_text()), arguments.skip))
    return run


def combine(row):
    """Make one result of the runs of a point."""
    runs = row.pop("runs")
    if row["status"] != "ok":
        return
    row["repeats"] = len(runs)
    for name in ("step_seconds", "wait_seconds"):
        row[name] = statistics.median(run[name] for run in runs)
    row["fastest_step_seconds"] = min(run["step_seconds"] for run in runs)
    row["loss"] = runs[0]["loss"]
    wrong = []
    for kind in KINDS:
        seen = {rank[kind] for run in runs for rank in run["peaks"]}
        row[f"{kind}_bytes"] = max(seen)
        if seen != {row[f"{kind}_formula_bytes"]}:
            wrong.append(kind)
    for part in sorted(set(PARTS) | {part for run in runs for part in run["sent"]}):
        seen = {run["sent"].get(part, 0) for run in runs}
        row[f"{part}_bytes"] = max(seen)
        if seen != {row.get(f"{part}_formula_bytes", 0)}:
            wrong.append(part)
    row["ring_bytes"] = ring_bytes(row, {part: row[f"{part}_bytes"] for part in PARTS})
    row["textbook_bytes"] = textbook_volume(row) * row["whole_bytes"]
    row["wrong"] = " ".join(wrong)
    for what in ("reductions", "gathers"):
        seconds = sum(run[f"{what}_seconds"] for run in runs)
        hidden = sum(run[f"{what}_hidden_seconds"] for run in runs)
        row[f"{what}_seconds"] = seconds / len(runs)
        row[f"{what}_hidden_share"] = hidden / seconds if seconds > 0 else ""


def write_csv(path, rows):
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "runs"))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def main():
    arguments = parse_arguments()
    if arguments.program is None:
        arguments.program = build("trib") / "trib"
    elif not arguments.program.exists():
        sys.exit(f"error: no program {arguments.program}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        grid = Grid(arguments, Path(folder))
        count = sum(sum(unit) for unit in grid.units)
        a = arguments
        print(f"{count / 1e6:.2f} M parameters in {len(grid.units)} units, D {a.dim}, depth "
              f"{a.depth}, {(a.size // a.patch) ** 2} tokens, batch of all ranks {a.batch}, medians "
              f"of {a.repeat}", flush=True)
        grid.run()
    done = [row for row in grid.rows if row["status"] == "ok"]
    if done:
        print_times(done)
        print_memory(done)
        print_traffic(done)
        print_overlap(done)
    write_csv(arguments.out / "sharding.csv", grid.rows)
    print(f"\n{arguments.out / 'sharding.csv'}")
    failed = [row for row in grid.rows if row["status"] != "ok"]
    for row in failed:
        print(f"{row['ranks']} ranks, {name_of(row)}, {row['prefetch']}, {row['recompute']}: "
              f"{row['note']}", file=sys.stderr)
    wrong = sum(bool(row["wrong"]) for row in done)
    if failed or wrong:
        sys.exit(f"error: of {len(grid.rows)} points {len(failed)} failed and {wrong} are not as "
                 "the formulas say")


if __name__ == "__main__":
    main()
