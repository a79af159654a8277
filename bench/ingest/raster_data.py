#!/usr/bin/python3
"""Make the raster that bench/ingest/raster.py reads windows of.

    bench/ingest/raster_data.py FILE pixel|band [--side 4096] [--bands 13]

uint16, deflate with predictor 2, tiles of 256 x 256. The content is like a scene of Sentinel-2:
fields of several sizes, bands that follow each other, and noise, so that it compresses like one
(the ratio is printed). FILE.json tells where its tiles lie: [band, or 0][row][column] of offset and
stored bytes.
"""

import argparse
import json
import os

import numpy
from osgeo import gdal, osr

gdal.UseExceptions()


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
    parser.add_argument("interleave", choices=("pixel", "band"))
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--bands", type=int, default=13)
    options = parser.parse_args()

    random = numpy.random.default_rng(7)
    side = options.side
    fields = [smooth(random, side, side // size) for size in (1024, 128, 16)]
    memory = gdal.GetDriverByName("MEM").Create("", side, side, options.bands, gdal.GDT_UInt16)
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32633)
    memory.SetProjection(reference.ExportToWkt())
    memory.SetGeoTransform((500000, 10, 0, 5600000, 0, -10))
    for band in range(options.bands):
        weights = random.uniform(0.5, 1.5, len(fields)) * (500, 300, 120)
        values = 1600 + 90 * band + sum(w * f for w, f in zip(weights, fields))
        values += 25 * random.standard_normal((side, side), dtype=numpy.float32)
        target = memory.GetRasterBand(band + 1)
        target.WriteArray(numpy.clip(values, 1, 10000).astype(numpy.uint16))
        target.SetDescription(f"B{band + 1:02}")
        target.SetScale(1e-4)
    part = options.file + ".part"
    tile = 256
    gdal.GetDriverByName("GTiff").CreateCopy(part, memory, options=[
        "COMPRESS=DEFLATE", "PREDICTOR=2", "TILED=YES", f"BLOCKXSIZE={tile}", f"BLOCKYSIZE={tile}",
        f"INTERLEAVE={options.interleave.upper()}", "NUM_THREADS=2", "BIGTIFF=NO"])
    written = gdal.Open(part)
    tiles = []
    for band in range(1 if options.interleave == "pixel" else options.bands):
        items = written.GetRasterBand(band + 1).GetMetadataItem
        tiles.append([[[int(items(f"BLOCK_{what}_{x}_{y}", "TIFF")) for what in ("OFFSET", "SIZE")]
                       for x in range(-(-side // tile))] for y in range(-(-side // tile))])
    with open(options.file + ".json", "w") as table:
        json.dump({"tile": tile, "side": side, "bands": options.bands, "tiles": tiles}, table)
    os.rename(part, options.file)
    size = os.path.getsize(options.file)
    print(f"{options.file}: {size / 1e6:.0f} MB, ratio {side * side * options.bands * 2 / size:.2f}")


if __name__ == "__main__":
    main()
