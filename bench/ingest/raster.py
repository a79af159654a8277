#!/usr/bin/env python3
"""Random windows of a compressed GeoTIFF as batches: Tributary, PyTorch's DataLoader, and the limit.

    bench/ingest/raster.py [--repeats 3] [--folder DIR] [--program TRIB] [--limit PROGRAM]

A 4096 x 4096 x 13 raster of uint16 (deflate, predictor 2, tiles of 256 x 256), once with interleaved
pixels and once with interleaved bands, is made in the folder unless it is there. Windows of 128 x
128 at random places go as float32, scaled, in batches of 16 through `trib run` (read.raster ->
batch -> sink) with 1 and 2 I/O threads on as many cores, and through
bench/peers/raster_dataloader.py with 2 workers.

    cold  the caches of decoded tiles are small (16 MB each): nearly every window decodes its tiles
    near  the caches are of middle size (64 MB each); Tributary takes windows of a neighbourhood one
          after another (order: grouped), the peer in any order
    warm  the caches hold the whole raster, as both have them by default; the peer is timed from
          when its caches are filled on, Tributary from its start

The limit of cold and near is bench_inflate_limit: the tiles of as many random windows fetched, inflated and
their prediction undone, and nothing else. That of warm is memory: a sample's stored bytes read and
its floats written, at the speed at which as many threads copy 256 MB.

All points are repeated in turns; medians are printed.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
import common  # noqa: E402

SIZE = 128
BATCH = 16
COLD_CACHE_MB = 16
NEAR_CACHE_MB = 64
PYTHON = "/usr/bin/python3"  # Debian's, which has rasterio and torch
HERE = Path(__file__).resolve().parent

GRAPH = """
name: ingest_raster
seed: 7
ingest: {{threads: {threads}}}
nodes:
  scenes:
    type: read.raster
    files: "{file}"
    sampling: random
    size: {size}
    per_image: {samples}
    cache: {cache}
    order: {order}
  batches: {{type: batch, from: scenes, size: 16}}
  count:   {{type: sink, from: batches, count: {batches}}}
"""


def make_data(folder, interleave):
    file = folder / f"raster-{interleave}.tif"
    if not Path(f"{file}.json").exists() or not file.exists():
        print(common.call([PYTHON, HERE / "raster_data.py", file, interleave], 600).strip())
    return file


def own(options, file, scratch, cache, threads, samples, order):
    """Samples a second of `trib run`."""
    graph = scratch / "graph.yaml"
    graph.write_text(GRAPH.format(file=file, threads=threads, cache=cache, size=SIZE, order=order,
                                  batches=samples // BATCH, samples=samples))
    folder = scratch / f"run-{random.randrange(1 << 60):x}"
    common.call([*common.on_cores(threads), options.program, "run", "--quiet", "--run-dir", folder,
                 graph], 600)
    summary = json.loads((folder / "summary.json").read_text())
    return summary["samples"] / summary["seconds"]


def peer(file, cache_mb, samples, warmup):
    environment = {} if cache_mb is None else {"GDAL_CACHEMAX": str(cache_mb)}
    os.environ.update(environment)
    try:
        out = common.call([PYTHON, HERE.parent / "peers/raster_dataloader.py", file, "--samples",
                           samples, "--warmup", warmup], 600)
    finally:
        for key in environment:
            del os.environ[key]
    return json.loads(out)["samples_per_second"]


COPY = """
import sys, threading, time, numpy
threads, megabytes = int(sys.argv[1]), 256
pairs = [[numpy.ones(megabytes * 125000 // threads) for _ in range(2)] for _ in range(threads)]
best = 0
for _ in range(5):
    workers = [threading.Thread(target=numpy.copyto, args=pair) for pair in pairs]
    start = time.perf_counter()
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    best = max(best, megabytes * 1e6 / (time.perf_counter() - start))
print(best)
"""


def memory_limit(threads, bands):
    """Samples a second if nothing but memory is in the way."""
    pixels = SIZE * SIZE * bands
    return float(common.call([PYTHON, "-c", COPY, threads], 60)) * 2 / (pixels * (2 + 4))


def write_tile_list(file, path, windows):
    """The tiles of random windows, for bench_inflate_limit."""
    table = json.loads(Path(f"{file}.json").read_text())
    tile, side, tiles = table["tile"], table["side"], table["tiles"]
    samples = table["bands"] if len(tiles) == 1 else 1
    bytes_ = tile * tile * samples * 2
    steps = f"deflate,horizontal:2:{samples}:{tile * samples * 2}"
    places = random.Random(11)
    with open(path, "w") as out:
        for _ in range(windows):
            y, x = places.randrange(side - SIZE + 1), places.randrange(side - SIZE + 1)
            for row in range(y // tile, (y + SIZE - 1) // tile + 1):
                for column in range(x // tile, (x + SIZE - 1) // tile + 1):
                    for plane in tiles:
                        offset, stored = plane[row][column]
                        print(file, offset, stored, bytes_, steps, file=out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path,
                        default=Path(tempfile.gettempdir()) / "tributary-bench")
    parser.add_argument("--program", type=Path)
    parser.add_argument("--limit", type=Path)
    parser.add_argument("--cold-samples", type=int, default=800)
    parser.add_argument("--near-samples", type=int, default=4000)
    parser.add_argument("--warm-samples", type=int, default=24000)
    options = parser.parse_args()
    common.find_programs(options)
    options.folder.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        files = {kind: make_data(options.folder, kind) for kind in ("pixel", "band")}
        points = {}
        for kind, file in files.items():
            tiles = scratch / f"tiles-{kind}"
            windows = 200
            write_tile_list(file, tiles, windows)

            def limit(threads, tiles=tiles):
                out = common.call([options.limit, tiles, threads, 1], 600)
                return windows / json.loads(out)["seconds"]

            def run(cache, threads, samples, order="shuffled", file=file):
                return own(options, file, scratch, cache, threads, samples, order)

            cold, warm = options.cold_samples, options.warm_samples
            small = COLD_CACHE_MB << 20
            points[kind, "cold", "limit, 2 threads"] = lambda f=limit: f(2)
            points[kind, "cold", "limit, 1 thread"] = lambda f=limit: f(1)
            points[kind, "cold", "peer, 2 workers"] = lambda f=file: peer(f, COLD_CACHE_MB, 320, 64)
            points[kind, "cold", "own, 1 thread"] = lambda f=run: f(small, 1, cold)
            points[kind, "cold", "own, 2 threads"] = lambda f=run: f(small, 2, cold)
            near, middle = options.near_samples, NEAR_CACHE_MB << 20
            points[kind, "near", "limit, 2 threads"] = lambda f=limit: f(2)
            points[kind, "near", "peer, 2 workers"] = lambda f=file: peer(f, NEAR_CACHE_MB, 320, 64)
            points[kind, "near", "own, 1 thread"] = lambda f=run: f(middle, 1, near, "grouped")
            points[kind, "near", "own, 2 threads"] = lambda f=run: f(middle, 2, near, "grouped")
            bands = json.loads(Path(f"{file}.json").read_text())["bands"]
            points[kind, "warm", "limit, 2 threads"] = lambda b=bands: memory_limit(2, b)
            points[kind, "warm", "peer, 2 workers"] = lambda f=file: peer(f, None, 2000, 1600)
            points[kind, "warm", "own, 1 thread"] = lambda f=run: f(1 << 30, 1, warm)
            points[kind, "warm", "own, 2 threads"] = lambda f=run: f(1 << 30, 2, warm)
        results = {point: [] for point in points}
        for _ in range(options.repeats):
            for point, measure in points.items():
                results[point].append(measure())

    medians = {point: statistics.median(values) for point, values in results.items()}
    print(f"Random {SIZE} x {SIZE} windows, batches of {BATCH}; samples/s, medians of "
          f"{options.repeats} interleaved runs (least and most)")
    print(f"{'interleave':10} {'cache':6} {'':18} {'samples/s':>10}")
    for (kind, cache, what), value in medians.items():
        least, most = min(results[kind, cache, what]), max(results[kind, cache, what])
        print(f"{kind:10} {cache:6} {what:18} {value:10.0f}   ({least:.0f} .. {most:.0f})")
    print()
    print(f"{'interleave':10} {'cache':6} {'own / peer':>11} {'own / limit':>12} {'1 -> 2 threads':>15}")
    for kind in files:
        for cache in ("cold", "near", "warm"):
            two = medians[kind, cache, "own, 2 threads"]
            bound = medians[kind, cache, "limit, 2 threads"]
            print(f"{kind:10} {cache:6} {two / medians[kind, cache, 'peer, 2 workers']:11.2f} "
                  f"{two / bound:12.2f} "
                  f"{two / medians[kind, cache, 'own, 1 thread']:15.2f}")


if __name__ == "__main__":
    main()
