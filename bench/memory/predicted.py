#!/usr/bin/env python3
"""Compare the memory that trib predicts with what it measures, for the graphs of this repository.

  bench/memory/predicted.py                                   sample data, made first; some minutes
  bench/memory/predicted.py --real DIR --steps 100            and real data for graphs that need it

Prints, for each graph and mesh, the sums over all kinds of the ledger on the rank where they differ
most, and the kinds that differ. A prediction is an upper bound; the aim is to be within 5 %. Where the
ledger exceeds it, the row says so and the exit code is 1.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from common import REPOSITORY, Failure, build, call, mpirun, numbers  # noqa: E402

GRAPHS = {"era5_forecast": {}, "hyperspectral_dchag": {"vars.channels": "1..200"},
          "hyperspectral_mae": {}, "hyperspectral_mae, neon": {"vars.cubes": "neon*"},
          "satellite_mae": {}, "era5_t2m_hourly": {}}
REAL = ["hyperspectral_mae, neon", "era5_t2m_hourly"]
MESHES = [(1, 1), (1, 2), (1, 4), (2, 2)]  # data, shard


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, help="data of the graphs; default: made by trib sample-data")
    add("--real", type=Path, help="data of graphs that are left out without: " + "; ".join(REAL))
    add("--steps", type=int, default=40)
    add("--ranks", type=numbers, default=[1, 2, 4], help="default 1,2,4")
    add("--timeout", type=float, default=600, help="seconds a run may take; default 600")
    add("--program", type=Path, help="default: trib of the preset release, built if missing")
    add("--mpirun", default="mpirun")
    return parser.parse_args()


def measure(arguments, graph, settings, data, shard, folder):
    options = {"train.steps": arguments.steps, "train.warmup_steps": 2, "mesh.data": data,
               "mesh.shard": shard, **settings}
    call([*mpirun(arguments.mpirun, data * shard), arguments.program, "run", "--quiet",
          "--no-trace", "--run-dir", folder, REPOSITORY / "graphs" / f"{graph}.yaml",
          *(word for item in options.items() for word in ("--set", "{}={}".format(*item)))],
         arguments.timeout)
    return json.loads((folder / "summary.json").read_text())["ranks_detail"]


def total(memory, what):
    return sum(kind[what] for kind in memory.values())


def main():
    arguments = parse_arguments()
    if arguments.program is None:
        arguments.program = build("trib") / "trib"
    failed = exceeded = False
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        if arguments.data is None:
            arguments.data = scratch / "data"
            call([arguments.program, "sample-data", arguments.data], 60)
        print(f"{'graph':26}{'mesh':>6}{'predicted':>12}{'measured':>12}{'ratio':>8}  differ: "
              "predicted / measured, MB")
        for name, settings in GRAPHS.items():
            where = arguments.real if name in REAL else arguments.data
            if where is None:
                continue
            for data, shard in MESHES:
                if data * shard not in arguments.ranks:
                    continue
                mesh = f"{data}x{shard}"
                try:
                    ranks = measure(arguments, name.split(",")[0],
                                    {"vars.data": where, **settings}, data, shard,
                                    scratch / f"{name} {mesh}")
                except Failure as failure:
                    print(f"{name:26}{mesh:>6}  {failure}", flush=True)
                    failed = True
                    continue
                memory = max((rank["memory"] for rank in ranks), key=lambda kinds: abs(
                    total(kinds, "predicted_bytes") / total(kinds, "peak_bytes") - 1))
                predicted = total(memory, "predicted_bytes")
                measured = total(memory, "peak_bytes")
                is_above = any(kind["peak_bytes"] > kind["predicted_bytes"]
                               for rank in ranks for kind in rank["memory"].values())
                exceeded |= is_above
                differ = ", ".join(
                    f"{kind} {sizes['predicted_bytes'] / 1e6:.2f} / {sizes['peak_bytes'] / 1e6:.2f}"
                    for kind, sizes in memory.items()
                    if sizes["predicted_bytes"] != sizes["peak_bytes"])
                print(f"{name:26}{mesh:>6}{predicted / 1e6:12.2f}{measured / 1e6:12.2f}"
                      f"{predicted / measured:8.3f}  {differ}"
                      f"{'  EXCEEDED' if is_above else ''}", flush=True)
    if failed or exceeded:
        sys.exit("error: " + " and ".join(["not all graphs ran"] * failed +
                                          ["more was used than predicted"] * exceeded))


if __name__ == "__main__":
    main()
