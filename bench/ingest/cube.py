#!/usr/bin/env python3
"""Random crops of a compressed HDF5 cube as batches: Tributary, PyTorch's DataLoader, and the limit.

    bench/ingest/cube.py [--repeats 3] [--folder DIR] [--program TRIB] [--limit PROGRAM]

A 512 x 512 x 500 cube of float32 (gzip and shuffle), once with the chunks h5py chooses and once with
chunks of 32 x 32 x 50, is made in the folder unless it is there. Crops of 32 x 32 pixels and all
bands at random places go in batches of 16 through `trib run` (read.cube -> batch -> sink) with 1
and 2 I/O threads on as many cores, and through bench/peers/cube_dataloader.py with 2 workers.

    cold     caches of decoded chunks are small (Tributary 1 MB, h5py its 1 MB a worker): each crop
             decodes its chunks
    default  Tributary's cache is what it is by default, 256 MB, half of the cube; h5py's is 1 MB a
             worker by default and here 128 MB, so that both have as much
    near     the same caches; Tributary takes crops of a neighbourhood one after another (order:
             grouped), the peer in any order

The limit of cold is bench_inflate_limit: the chunks of as many random crops fetched, inflated and
unshuffled, and nothing else.

All points are repeated in turns; medians are printed.
"""

import argparse
import itertools
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
import common  # noqa: E402

SIZE = 32
BATCH = 16
PYTHON = "/usr/bin/python3"  # Debian's, which has h5py and torch
HERE = Path(__file__).resolve().parent
# Own bytes and order, the peer's MB a worker.
CACHES = {"cold": (1 << 20, "shuffled", 1), "default": (256 << 20, "shuffled", 128),
          "near": (256 << 20, "grouped", 128)}

GRAPH = """
name: ingest_cube
seed: 7
ingest: {{threads: {threads}}}
nodes:
  cubes:
    type: read.cube
    files: "{file}"
    sampling: random
    size: {size}
    per_image: {samples}
    cache: {cache}
    order: {order}
  batches: {{type: batch, from: cubes, size: {batch}}}
  count:   {{type: sink, from: batches, count: {batches}}}
"""


def make_data(folder, chunks):
    file = folder / f"cube-{chunks}.h5"
    if not Path(f"{file}.json").exists() or not file.exists():
        print(common.call([PYTHON, HERE / "cube_data.py", file, chunks], 1200).strip())
    return file


def own(options, file, scratch, cache, order, threads, samples):
    """Samples a second of `trib run`."""
    graph = scratch / "graph.yaml"
    graph.write_text(GRAPH.format(file=file, threads=threads, cache=cache, order=order,
                                  size=SIZE, batch=BATCH,
                                  batches=samples // BATCH, samples=samples))
    folder = scratch / f"run-{random.randrange(1 << 60):x}"
    common.call([*common.on_cores(threads), options.program, "run", "--quiet", "--run-dir", folder,
                 graph], 600)
    summary = json.loads((folder / "summary.json").read_text())
    return summary["samples"] / summary["seconds"]


def peer(file, cache_mb, samples, warmup):
    out = common.call([PYTHON, HERE.parent / "peers/cube_dataloader.py", file, "--samples", samples,
                       "--warmup", warmup, "--cache-mb", cache_mb], 1200)
    return json.loads(out)["samples_per_second"]


def write_chunk_list(file, path, crops):
    """The chunks of random crops, for bench_inflate_limit."""
    table = json.loads(Path(f"{file}.json").read_text())
    side, bands, chunk = table["side"], table["bands"], table["chunks"]
    places = {tuple(first): (offset, stored) for first, offset, stored in table["places"]}
    bytes_ = chunk[0] * chunk[1] * chunk[2] * 4
    draw = random.Random(11)
    with open(path, "w") as out:
        for _ in range(crops):
            box = [(draw.randrange(side - SIZE + 1), SIZE) for _ in range(2)] + [(0, bands)]
            starts = [range(begin // step * step, begin + count, step)
                      for (begin, count), step in zip(box, chunk)]
            for first in itertools.product(*starts):
                offset, stored = places[first]
                print(file, offset, stored, bytes_, "deflate,shuffle:4", file=out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path,
                        default=Path(tempfile.gettempdir()) / "tributary-bench")
    parser.add_argument("--program", type=Path)
    parser.add_argument("--limit", type=Path)
    parser.add_argument("--samples", type=int, default=640)
    parser.add_argument("--peer-samples", type=int, default=192)
    options = parser.parse_args()
    common.find_programs(options)
    options.folder.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        files = {kind: make_data(options.folder, kind) for kind in ("auto", "explicit")}
        points = {}
        for kind, file in files.items():
            chunks = scratch / f"chunks-{kind}"
            crops = 100
            write_chunk_list(file, chunks, crops)

            def limit(threads, chunks=chunks):
                out = common.call([options.limit, chunks, threads, 1], 600)
                return crops / json.loads(out)["seconds"]

            def run(cache, order, threads, file=file):
                return own(options, file, scratch, cache, order, threads, options.samples)

            def other(cache, file=file):
                return peer(file, cache, options.peer_samples, 128)

            points[kind, "cold", "limit, 2 threads"] = lambda f=limit: f(2)
            for cache, (bytes_, order, megabytes) in CACHES.items():
                points[kind, cache, "peer, 2 workers"] = lambda f=other, m=megabytes: f(m)
                points[kind, cache, "own, 1 thread"] = lambda f=run, b=bytes_, o=order: f(b, o, 1)
                points[kind, cache, "own, 2 threads"] = lambda f=run, b=bytes_, o=order: f(b, o, 2)
        results = {point: [] for point in points}
        for _ in range(options.repeats):
            for point, measure in points.items():
                results[point].append(measure())

    medians = {point: statistics.median(values) for point, values in results.items()}
    print(f"Random {SIZE} x {SIZE} crops of all bands, batches of {BATCH}; samples/s, medians of "
          f"{options.repeats} interleaved runs (least and most)")
    print(f"{'chunks':10} {'cache':8} {'':18} {'samples/s':>10}")
    for (kind, cache, what), value in medians.items():
        least, most = min(results[kind, cache, what]), max(results[kind, cache, what])
        print(f"{kind:10} {cache:8} {what:18} {value:10.1f}   ({least:.1f} .. {most:.1f})")
    print()
    print(f"{'chunks':10} {'cache':8} {'own / peer':>11} {'own / limit':>12} {'1 -> 2 threads':>15}")
    for kind, cache in itertools.product(files, CACHES):
        two = medians[kind, cache, "own, 2 threads"]
        bound = medians.get((kind, cache, "limit, 2 threads"))
        print(f"{kind:10} {cache:8} {two / medians[kind, cache, 'peer, 2 workers']:11.2f} "
              f"{'' if bound is None else format(two / bound, '.2f'):>12} "
              f"{two / medians[kind, cache, 'own, 1 thread']:15.2f}")


if __name__ == "__main__":
    main()
