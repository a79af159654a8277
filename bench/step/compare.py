#!/usr/bin/env python3
"""Training steps of ours and of the PyTorch peers in turns, one process each.

    bench/step/compare.py                                     everything, medians of 3 rounds
    bench/step/compare.py --presets vit_s_144 --precisions fp32 --only peers
    bench/step/compare.py --only scaling --repeats 5

peers: samples a second and peak resident memory beside those of bench/peers/vit_step.py and
channel_step.py, and the rate of ours beside that of products in the same run (fp32: sgemm, bf16:
bfloat16). scaling: 1 and 2 threads; 1 rank of 2 threads and 2 ranks of 1 thread that share the same
batch (data parallel). A round runs each once; a ratio is taken within a round, then the median of
rounds.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from common import REPOSITORY, Failure, build, call, mpirun, words  # noqa: E402

PEERS = REPOSITORY / "bench/peers"
PRESETS = ["vit_s_144", "channels_80", "channels_512"]
VIT = {"vit_s_96": (96, 16), "vit_s_224": (224, 16), "vit_s_144": (96, 8)}  # image, patch
CHANNELS = ["channels_80", "channels_512"]


def peer_command(preset, options, precision):
    if preset in VIT:
        size, patch = VIT[preset]
        script = [PEERS / "vit_step.py", "--size", size, "--patch", patch]
    else:
        script = [PEERS / "channel_step.py", preset]
    return [options.python, *script, "--precision", precision, "--threads", options.threads,
            "--steps", options.steps]


def own_command(program, preset, options, precision, threads):
    return [program, "--json", "--preset", preset, "--precision", precision, "--threads", threads,
            "--steps", options.steps]


def figures_of(output):
    """Of ours or of a peer: seconds of a step, samples a second, bytes."""
    told = json.loads(output.strip().splitlines()[-1])
    return {"seconds": told["step_seconds"],
            "samples": told["samples_per_second"],
            "bytes": told["rss_bytes"],
            "gflops": told.get("gflops"), "of_peak": told.get("peak_fraction"),
            "peak": told.get("gemm_peak_gflops")}


def rounds(commands, repeats, timeout):
    """Run each command once a round; of each name, its figures by round. A failure ends a name."""
    results, errors = {name: [] for name in commands}, {}
    for _ in range(repeats):
        for name, command in commands.items():
            if name in errors:
                continue
            try:
                results[name].append(figures_of(call(command, timeout)))
            except Failure as failure:
                errors[name] = str(failure)
    for name, error in errors.items():
        print(f"error: {' '.join(name)}: {error}", file=sys.stderr)
        del results[name]
    return results


def median(figures, key):
    return statistics.median(one[key] for one in figures)


def ratio(over, under, key):
    return statistics.median(a[key] / b[key] for a, b in zip(over, under))


def compare_peers(program, options):
    commands = {}
    for preset in options.presets:
        for precision in options.precisions:
            commands[preset, precision, "ours"] = own_command(program, preset, options, precision,
                                                              options.threads)
            commands[preset, precision, "peer"] = peer_command(preset, options, precision)
    results = rounds(commands, options.repeats, options.timeout)
    print(f"\n{options.threads} threads, medians of {options.repeats} rounds:\n")
    print("| preset | precision | step, ms | samples/s | peer's | over peer | RSS, MB | peer's | "
          "of peer | GFLOP/s | peak of products | of peak |\n"
          "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for preset in options.presets:
        for precision in options.precisions:
            ours = results.get((preset, precision, "ours"))
            peer = results.get((preset, precision, "peer"))
            if not ours and not peer:
                continue

            def cell(figures, key, scale, digits):
                return f"{scale * median(figures, key):.{digits}f}" if figures else ""

            def relation(key):
                return f"{ratio(ours, peer, key):.2f}" if ours and peer else ""

            print(f"| `{preset}` | {precision} | {cell(ours, 'seconds', 1e3, 1)} | "
                  f"{cell(ours, 'samples', 1, 2)} | {cell(peer, 'samples', 1, 2)} | "
                  f"{relation('samples')} | {cell(ours, 'bytes', 1e-6, 0)} | "
                  f"{cell(peer, 'bytes', 1e-6, 0)} | {relation('bytes')} | "
                  f"{cell(ours, 'gflops', 1, 0)} | {cell(ours, 'peak', 1, 0)} | "
                  f"{cell(ours, 'of_peak', 1, 3)} |")


def compare_scaling(program, options):
    commands = {}
    for preset in options.presets:
        for precision in options.precisions:
            key = (preset, precision)
            commands[*key, "1 thread"] = own_command(program, preset, options, precision, 1)
            commands[*key, "2 threads"] = own_command(program, preset, options, precision, 2)
            commands[*key, "2 ranks"] = (mpirun(options.mpirun, 2) +
                                         own_command(program, preset, options, precision, 1))
    results = rounds(commands, options.repeats, options.timeout)
    print(f"\nms a step of the same batch, medians of {options.repeats} rounds:\n")
    print("| preset | precision | 1 thread | 2 threads | speed-up | products' | 2 ranks of 1 thread "
          "| 2 threads over 2 ranks |\n|---|---|---:|---:|---:|---:|---:|---:|")
    for preset in options.presets:
        for precision in options.precisions:
            one, two, ranks = (results.get((preset, precision, name))
                               for name in ("1 thread", "2 threads", "2 ranks"))
            if not (one and two and ranks):
                continue
            print(f"| `{preset}` | {precision} | {1e3 * median(one, 'seconds'):.1f} | "
                  f"{1e3 * median(two, 'seconds'):.1f} | {ratio(one, two, 'seconds'):.2f} | "
                  f"{ratio(two, one, 'peak'):.2f} | {1e3 * median(ranks, 'seconds'):.1f} | "
                  f"{ratio(ranks, two, 'seconds'):.3f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", help="bench_step; built if not given")
    parser.add_argument("--presets", type=words, default=PRESETS)
    parser.add_argument("--precisions", type=words, default=["fp32", "bf16"])
    parser.add_argument("--only", choices=["peers", "scaling"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--python", default="/usr/bin/python3", help="one that has PyTorch")
    parser.add_argument("--mpirun", default="mpirun")
    parser.add_argument("--timeout", type=float, default=600)
    options = parser.parse_args()
    unknown = set(options.presets) - VIT.keys() - set(CHANNELS)
    if unknown and options.only != "scaling":
        parser.error(f"--presets {','.join(unknown)}: have no peer")
    program = options.program or build("bench_step") / "bench/bench_step"
    if options.only != "scaling":
        compare_peers(program, options)
    if options.only != "peers":
        compare_scaling(program, options)


if __name__ == "__main__":
    main()
