#!/usr/bin/env python3
"""Run the benches once, write their figures to one CSV file, and compare with those of another run.

    bench/run.sh                                  all, a few minutes; writes bench-COMMIT.csv
    bench/run.sh --compare OLD.csv                and a table of what changed
    bench/run.sh --compare OLD.csv --with NEW.csv    compare two files, run nothing
    bench/run.sh --only machine,kernels,step

Sets: machine (products and copies), kernels (bench_kernels), step (bench_step, every preset),
aggregation (bench_dchag), overlap, memory, era5 (scripts of bench/overlap, bench/memory and
bench/step). A change counts beyond noise only (see figures.py), and as if the machine had been as fast
as in the other run: rates of products and copies are part of every file. The exit code is 1 if
something got worse, 2 if a bench failed.
"""

import argparse
import datetime
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import figures
from figures import Figure

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from common import REPOSITORY, Failure, build, call, words  # noqa: E402

TARGETS = ["bench_kernels", "bench_step", "bench_dchag", "trib"]
QUICK_STEPS = 1


def machine(options):
    """Rates the machine reaches; others are compared beside them."""
    text = call([options.programs / "bench/bench_kernels", "--peak"], options.timeout)
    one, both, count = re.search(r"sgemm peak: (\S+) GFLOP/s on 1 thread, (\S+) on (\S+)",
                                 text).groups()
    yield Figure("machine", "1 thread", "sgemm", float(one), "GFLOP/s", "higher")
    yield Figure("machine", "all threads", "sgemm", float(both), "GFLOP/s", "higher")
    yield Figure("machine", "all threads", "copy",
                 float(re.search(r"copy: (\S+) GB/s", text)[1]), "GB/s", "higher")
    yield Figure("machine", "all threads", "threads", float(count), "", "higher")


def kernels(options):
    """Google Benchmark's rates."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.json"
        call([options.programs / "bench/bench_kernels", f"--benchmark_out={path}",
              "--benchmark_out_format=json",
              f"--benchmark_min_time={0.01 if options.quick else 0.2}",
              f"--benchmark_filter={options.filter}"], options.timeout)
        benchmarks = json.loads(path.read_text())["benchmarks"]
    for one in benchmarks:
        case = one["name"].removeprefix("bm_").removesuffix("/real_time")
        for counter, unit in (("GFLOP", "GFLOP/s"), ("GB", "GB/s")):
            if counter in one:
                yield Figure("kernels", case, "rate", one[counter], unit, "higher")


def step(options):
    """Speed and memory of training steps."""
    program = options.programs / "bench/bench_step"
    presets = options.presets or [line.split()[0]
                                  for line in call([program, "--list"], 60).splitlines()]
    for preset in presets:
        for precision in options.precisions:
            told = json.loads(call(
                [program, "--json", "--preset", preset, "--precision", precision,
                 "--steps", QUICK_STEPS if options.quick else 5], options.timeout))
            case = f"{preset} {precision}"
            yield Figure("step", case, "samples", told["samples_per_second"], "samples/s",
                         "higher")
            # Its peak is measured in the same run.
            yield Figure("step", case, "of peak", told["peak_fraction"], "", "higher")
            yield Figure("step", case, "activations", told["activation_bytes"], "B", "lower")
            yield Figure("step", case, "resident", told["rss_bytes"], "B", "lower")


def aggregation(options):
    """Some ways to aggregate channels, on one rank."""
    for mode in ("baseline", "dchag_l4", "fused_flat_c", "fused_flat_l"):
        told = json.loads(call(
            [options.programs / "bench/bench_dchag", "--mode", mode, "--channels",
             16 if options.quick else 128, "--steps", QUICK_STEPS if options.quick else 3],
            options.timeout))
        yield Figure("dchag", mode, "samples", told["samples_per_second"], "samples/s", "higher")
        yield Figure("dchag", mode, "activations", told["activations_bytes"], "B", "lower")


def script(options, name):
    """The table an end-to-end bench prints, as lists of words."""
    environment = {"TRIB": options.programs / "trib", "REPEATS": 1,
                   "BENCH_KERNELS": options.programs / "bench/bench_kernels"}
    settings = [f"{key}={value}" for key, value in environment.items()]
    text = call(["env", *settings, REPOSITORY / "bench" / name], options.timeout)
    return [line.split() for line in text.splitlines() if line]


def overlap(options):
    """Does reading hide behind computing?"""
    for row in script(options, "overlap/overlap.sh"):
        if row[0] in ("long", "short"):
            yield Figure("overlap", f"{row[0]} steps", "of the longer", float(row[7]), "", "lower")


def memory(options):
    """Does memory stay within the budget?"""
    for row in script(options, "memory/budget.sh"):
        if row[0].isdigit():
            yield Figure("memory", f"{row[0]} samples", "ingest peak", float(row[3]), "MB", "lower")
            yield Figure("memory", f"{row[0]} samples", "resident", float(row[4]), "MB", "lower")


def era5(options):
    """A step of graphs/era5_forecast.yaml as trib runs it."""
    for row in script(options, "step/era5_step.sh"):
        if row[0] == "own":
            yield Figure("era5", "step", "seconds", float(row[2]) / 1e3, "s", "lower")
            yield Figure("era5", "step", "of peak", float(row[5]), "", "higher")


SETS = {"machine": machine, "kernels": kernels, "step": step, "aggregation": aggregation,
        "overlap": overlap, "memory": memory, "era5": era5}


def facts(programs):
    """What all figures of a run have in common."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=REPOSITORY,
                            capture_output=True, text=True).stdout.strip()
    model = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    told = call([programs / "bench/bench_kernels", "--peak"], 120).splitlines()[0]
    return {"commit": commit, "cpu": model[1] if model else "", "blas": told.split()[-1],
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}


def measure(options):
    """Figures of all sets asked for, and the errors of those that failed."""
    found, errors = [], []
    for name in options.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            found.extend(SETS[name](options))
        except (Failure, LookupError, ValueError, TypeError, AttributeError) as failure:
            errors.append(f"{name}: {failure}")
    common = facts(options.programs)
    for figure in found:
        vars(figure).update(common)
    return found, errors


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog=__doc__.split("\n", 2)[2])
    parser.add_argument("--out", type=Path, help="the file to write")
    parser.add_argument("--compare", type=Path, metavar="OLD", help="figures of an earlier run")
    parser.add_argument("--with", type=Path, metavar="NEW", dest="new",
                        help="figures to compare with OLD; nothing is run")
    parser.add_argument("--all-rows", action="store_true", help="also show what is within noise")
    parser.add_argument("--only", type=words, default=list(SETS), help=", ".join(SETS))
    parser.add_argument("--presets", type=words, help="of step; all if not given")
    parser.add_argument("--precisions", type=words, default=["fp32", "bf16"], help="of step")
    parser.add_argument("--filter", default=".", help="a regular expression of kernels")
    parser.add_argument("--programs", type=Path, help="folder of a build; built if not given")
    parser.add_argument("--quick", action="store_true", help="to see that it works")
    parser.add_argument("--timeout", type=float, default=900, help="of each program, in seconds")
    options = parser.parse_args()
    if unknown := set(options.only) - SETS.keys():
        parser.error(f"--only {','.join(unknown)}: expected some of {', '.join(SETS)}")
    if options.new and not options.compare:
        parser.error("--with needs --compare")
    return options


def main():
    options = parse()
    errors = []
    if options.new:
        new = figures.read(options.new)
    else:
        if not options.programs:
            for target in TARGETS:
                options.programs = build(target)
        if options.compare:
            figures.read(options.compare)  # before the long part
        new, errors = measure(options)
        out = options.out or Path(f"bench-{new[0].commit if new else 'none'}.csv")
        figures.write(out, new)
        print(f"{len(new)} figures in {out}")
    worse = False
    if options.compare:
        old = figures.read(options.compare)
        text, worse = figures.comparison(old, new, options.all_rows)
        print(text)
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 2 if errors else int(worse)


if __name__ == "__main__":
    raise SystemExit(main())
