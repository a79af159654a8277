#!/usr/bin/env python3
"""Profiles of a training step of every preset of bench_step, as Markdown: README.md has them.

    bench/step/run.py                                     all presets, fp32, 2 threads
    bench/step/run.py --presets vit_s_144 --precision bf16

First a table of the steps, each beside the peak of products and the copy measured in its run, then
for each preset the kernels of a step; those below --least of the step are put together.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from common import Failure, build, call, words  # noqa: E402

STEP_ROW = ("| `{preset}` | {batch} | {gflop:.1f} | {milliseconds:.1f} | {samples_per_second:.1f} | "
            "{gflops:.0f} | {peak_fraction:.2f} | {rss:.0f} | {activations:.0f} |")


def rate(value, fraction):
    return f"{value:.0f} | {fraction:.2f}" if value > 0 else " | "


def kernel_rows(kernels, least):
    """Rows of a profile; what is short is added up in one."""
    rows, short = [], []
    for kernel in kernels:
        if kernel["share"] < least and kernel["kernel"] != "outside kernels":
            short.append(kernel)
            continue
        shape = " x ".join(map(str, kernel["shape"]))
        calls = f"{kernel['calls']:g}" if kernel["calls"] else ""
        rows.append(f"| {kernel['kernel']} | {shape} | {calls} | {kernel['milliseconds']:.3f} | "
                    f"{100 * kernel['share']:.1f} % | "
                    f"{rate(kernel['gflops'], kernel['peak_fraction'])} | "
                    f"{rate(kernel['gbytes'], kernel['copy_fraction'])} |")
    if short:
        rows.insert(-1, f"| {len(short)} others | | {sum(k['calls'] for k in short):g} | "
                        f"{sum(k['milliseconds'] for k in short):.3f} | "
                        f"{100 * sum(k['share'] for k in short):.1f} % | | | | |")
    return rows


def step_row(figures):
    return STEP_ROW.format(milliseconds=1e3 * figures["step_seconds"],
                           rss=1e-6 * figures["rss_bytes"],
                           activations=1e-6 * figures["activation_bytes"], **figures)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", help="bench_step; built if not given")
    parser.add_argument("--presets", type=words, help="all if not given")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--recompute", type=int, default=0)
    parser.add_argument("--least", type=float, default=0.01, help="share of a kernel with a row")
    parser.add_argument("--no-kernels", action="store_true", help="the steps alone")
    options = parser.parse_args()

    program = options.program or build("bench_step") / "bench/bench_step"
    presets = options.presets or [line.split()[0]
                                  for line in call([program, "--list"], 60).splitlines()]
    profiles, failed = {}, []
    for preset in presets:
        command = [program, "--json", "--preset", preset, "--precision", options.precision,
                   "--threads", options.threads, "--steps", options.steps,
                   "--recompute", options.recompute]
        try:
            profiles[preset] = json.loads(
                call(command + ([] if options.no_kernels else ["--profile"]), 900))
        except Failure as failure:
            failed.append(f"{preset}: {failure}")

    steps = list(profiles.values())
    if steps:
        for key, name in (("gemm_peak_gflops", "Peak of products, GFLOP/s"),
                          ("copy_gbytes", "copy, GB/s")):
            values = sorted(step[key] for step in steps)
            print(f"{name}: {values[0]:.0f} to {values[-1]:.0f} between the runs.")
        print(f"\n{options.precision}, {options.threads} threads:\n")
        print("| preset | batch | GFLOP | step, ms | samples/s | GFLOP/s | of peak | RSS, MB | "
              "activations, MB |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|")
        for figures in steps:
            print(step_row(figures))
    for preset, figures in profiles.items():
        if "kernels" not in figures:
            continue
        print(f"\n`{preset}`\n\n| kernel | shape | calls | ms | share | GFLOP/s | of peak | GB/s | "
              "of copy |\n|---|---|---:|---:|---:|---:|---:|---:|---:|")
        print("\n".join(kernel_rows(figures["kernels"], options.least)))
    for failure in failed:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
