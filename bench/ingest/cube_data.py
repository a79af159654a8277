#!/usr/bin/python3
"""Make the hyperspectral cube that bench/ingest/cube.py reads crops of.

    bench/ingest/cube_data.py FILE auto|explicit [--side 512] [--bands 500]

float32 [y, x, band], gzip and shuffle; chunks as h5py chooses them, or of 32 x 32 pixels and 50
bands. Pixels are mixtures of a few smooth spectra with noise of the sensor, rounded to what it
resolves, so that the cube compresses like a real one (the ratio is printed). FILE.json tells where
the chunks lie: [[first element], offset, stored bytes].
"""

import argparse
import json
import os

import h5py
import numpy


def smooth(random, side, cells):
    """A random field of so many cells a side, with straight lines between them."""
    coarse = random.standard_normal((cells + 1, cells + 1)).astype(numpy.float32)
    at = numpy.linspace(0, cells, side, dtype=numpy.float32)
    low = numpy.minimum(at.astype(int), cells - 1)
    part = at - low
    rows = coarse[low] * (1 - part)[:, None] + coarse[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("chunks", choices=("auto", "explicit"))
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--bands", type=int, default=500)
    options = parser.parse_args()
    side, bands = options.side, options.bands

    random = numpy.random.default_rng(7)
    nm = numpy.linspace(400, 2400, bands, dtype=numpy.float32)
    spectra = []
    for _ in range(6):
        centres, widths = random.uniform(400, 2400, 8), random.uniform(60, 400, 8)
        bumps = numpy.exp(-((nm[:, None] - centres) / widths) ** 2) @ random.uniform(-0.1, 0.2, 8)
        spectra.append(0.25 + bumps)
    spectra = numpy.array(spectra, dtype=numpy.float32)
    parts = numpy.stack([smooth(random, side, max(1, side // cell))
                         for cell in (128, 64, 32, 32, 16, 8)], axis=-1)
    parts = numpy.exp(parts)
    parts /= parts.sum(axis=-1, keepdims=True)

    part_file = options.file + ".part"
    chunks = True if options.chunks == "auto" else (32, 32, 50)
    with h5py.File(part_file, "w") as file:
        cube = file.create_dataset("reflectance", (side, side, bands), "f4", chunks=chunks,
                                   compression="gzip", compression_opts=4, shuffle=True)
        cube.attrs["dimension_labels"] = "y,x,band"
        file["wavelength"] = nm
        file["wavelength"].attrs["units"] = "nanometers"
        rows = cube.chunks[0]
        for y in range(0, side, rows):
            values = parts[y:y + rows] @ spectra
            values += 0.002 * random.standard_normal(values.shape, dtype=numpy.float32)
            cube[y:y + rows] = numpy.round(values * 10000) / numpy.float32(10000)
        stored = cube.id.get_storage_size()
        places = []
        for i in range(cube.id.get_num_chunks()):
            info = cube.id.get_chunk_info(i)
            places.append([list(info.chunk_offset), info.byte_offset, info.size])
        table = {"side": side, "bands": bands, "chunks": list(cube.chunks), "places": places}
        print(f"{options.file}: chunks {cube.chunks}, {cube.nbytes / stored:.2f} : 1")
    with open(options.file + ".json", "w") as out:
        json.dump(table, out)
    os.rename(part_file, options.file)


if __name__ == "__main__":
    main()
