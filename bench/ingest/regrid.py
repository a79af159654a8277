#!/usr/bin/env python3
"""Regridding of many packed fields: Tributary, CDO, and the limit.

    bench/ingest/regrid.py [--repeats 3] [--fields 480] [--folder DIR] [--program TRIB] [--limit PROGRAM]

480 fields of 721 x 1440 shorts (NetCDF-4, zlib level 1, with and without shuffle) are made in the
folder unless they are there, some 850 MB each. They go to 32 x 64 by read.netcdf -> regrid ->
write.netcdf with 1 and 2 I/O threads on as many cores and by `cdo -P 2 remapbil` and `remapcon`,
each from the start of the program to its end. The limit is bench_inflate_limit: the same chunks
fetched and inflated, and nothing else.

All points are repeated in turns; medians are printed. The results must be those of CDO to 1e-6 of
their range (conservative: 1e-5), or the exit code is 1.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
import common  # noqa: E402

PYTHON = "/usr/bin/python3"  # Debian's, which has netCDF4 and h5py
HERE = Path(__file__).resolve().parent
FILTERS = ("plain", "shuffle")
METHODS = {"bilinear": ("remapbil", 1e-6), "conservative": ("remapcon", 1e-5)}

GRAPH = """
name: ingest_regrid
seed: 7
ingest: {{threads: {threads}}}
nodes:
  fields: {{type: read.netcdf, files: "{file}", order: sequential}}
  coarse: {{type: regrid, from: fields, method: {method}, degrees: 5.625}}
  write:  {{type: write.netcdf, from: coarse, path: "{out}", count: {fields}}}
"""

TARGET = """gridtype = lonlat
xsize = 64
ysize = 32
xfirst = 0
xinc = 5.625
yfirst = -87.1875
yinc = 5.625
"""

CHUNKS = """
import sys, h5py
file, out, shuffle = sys.argv[1], open(sys.argv[2], "w"), sys.argv[3] == "shuffle"
field = h5py.File(file)["t2m"].id
for n in range(field.get_num_chunks()):
    chunk = field.get_chunk_info(n)
    print(file, chunk.byte_offset, chunk.size, 721 * 1440 * 2,
          "deflate,shuffle:2" if shuffle else "deflate", file=out)
"""

COMPARE = """
import sys, numpy, netCDF4
own, other = (netCDF4.Dataset(path) for path in sys.argv[1:3])
dates = [[str(t) for t in netCDF4.num2date(f["time"][:], f["time"].units)] for f in (own, other)]
assert dates[0] == dates[1], "times differ"
for name in ("lat", "lon"):
    assert numpy.allclose(own[name][:], other[name][:], atol=1e-9), name + " differs"
own, other = (numpy.ma.filled(f["t2m"][:].astype("f8"), numpy.nan) for f in (own, other))
assert own.shape == other.shape, "shapes differ"
ranges = other.max(axis=(1, 2)) - other.min(axis=(1, 2))
print(float((abs(own - other).max(axis=(1, 2)) / ranges).max()))
"""


def seconds(command):
    start = time.perf_counter()
    common.call(command, 1800)
    return time.perf_counter() - start


def make_data(folder, fields, filters):
    file = folder / f"fields-{fields}-{filters}.nc"
    if not file.exists():
        part = file.with_suffix(".part")
        common.call([PYTHON, HERE / "regrid_data.py", part, fields, filters], 1800)
        part.rename(file)
    return file


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fields", type=int, default=480)
    parser.add_argument("--folder", type=Path,
                        default=Path(tempfile.gettempdir()) / "tributary-bench")
    parser.add_argument("--program", type=Path)
    parser.add_argument("--limit", type=Path)
    options = parser.parse_args()
    common.find_programs(options)
    options.folder.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        (scratch / "target.grid").write_text(TARGET)

        def own(file, method, threads, out):
            graph = scratch / "graph.yaml"
            graph.write_text(GRAPH.format(file=file, method=method, threads=threads, out=out,
                                          fields=options.fields))
            folder = scratch / f"run-{random.randrange(1 << 60):x}"
            return seconds([*common.on_cores(threads), options.program, "run", "--quiet",
                            "--run-dir", folder, graph])

        def cdo(file, operator, out):
            return seconds(["cdo", "-s", "-O", "-P", "2", "-f", "nc4", "-b", "F32",
                            f"{operator},{scratch / 'target.grid'}", file, out])

        def limit(chunks, threads):
            return json.loads(common.call([options.limit, chunks, threads, 1], 600))["seconds"]

        points = {}
        for filters in FILTERS:
            file = make_data(options.folder, options.fields, filters)
            file.read_bytes()  # into the page cache
            chunks = scratch / f"chunks-{filters}"
            common.call([PYTHON, "-c", CHUNKS, file, chunks, filters], 60)
            for threads in (1, 2):
                points[filters, "limit", threads] = lambda c=chunks, t=threads: limit(c, t)
            for method, (operator, _) in METHODS.items():
                result = scratch / f"{filters}-{method}"
                points[filters, operator, 2] = \
                    lambda f=file, o=operator, r=result: cdo(f, o, f"{r}-cdo.nc")
                for threads in (1, 2):
                    points[filters, method, threads] = \
                        lambda f=file, m=method, t=threads, r=result: own(f, m, t, f"{r}-own.nc")
        results = {point: [] for point in points}
        for _ in range(options.repeats):
            for point, measure in points.items():
                results[point].append(measure())
        differences = {
            (filters, method): float(common.call(
                [PYTHON, "-c", COMPARE, scratch / f"{filters}-{method}-own.nc",
                 scratch / f"{filters}-{method}-cdo.nc"], 120))
            for filters in FILTERS for method in METHODS}

    medians = {point: statistics.median(values) for point, values in results.items()}
    print(f"{options.fields} fields of 721 x 1440 shorts to 32 x 64; seconds, medians of "
          f"{options.repeats} interleaved runs (least and most)")
    print(f"{'chunks':8} {'what':14} {'threads':>7} {'seconds':>8}")
    for (filters, what, threads), value in medians.items():
        least, most = min(results[filters, what, threads]), max(results[filters, what, threads])
        print(f"{filters:8} {what:14} {threads:7d} {value:8.2f}   ({least:.2f} .. {most:.2f})")
    print()
    print(f"{'chunks':8} {'method':14} {'own / CDO':>10} {'own / limit':>12} {'1 -> 2 threads':>15} "
          f"{'difference / range':>19}")
    failed = False
    for filters in FILTERS:
        for method, (operator, tolerance) in METHODS.items():
            two = medians[filters, method, 2]
            bound = medians[filters, "limit", 2]
            difference = differences[filters, method]
            failed |= not difference <= tolerance
            print(f"{filters:8} {method:14} {medians[filters, operator, 2] / two:10.2f} "
                  f"{bound / two:12.2f} "
                  f"{medians[filters, method, 1] / two:15.2f} {difference:19.1e}"
                  f"{'' if difference <= tolerance else '  TOO LARGE'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
