#!/usr/bin/env python3
"""Make the fields that bench/ingest/regrid.py regrids.

    bench/ingest/regrid_data.py FILE FIELDS plain|shuffle

Hourly fields of 721 x 1440 (0.25 degrees, from the north) as packed shorts, a chunk a field, zlib
level 1. They are random waves with the spectrum of temperature near the ground: they compress to
0.88 of their size (0.63 with shuffle), as a field of ERA5 does (0.86 and 0.69).
"""

import sys

import netCDF4
import numpy

ROWS, COLUMNS = 721, 1440


def waves(random):
    """A random field of variance 1, periodic in longitude."""
    east = numpy.fft.rfftfreq(COLUMNS, 1 / COLUMNS)[None, :]
    north = numpy.fft.fftfreq(2 * ROWS, 1 / (2 * ROWS))[:, None] / 2
    number = numpy.maximum(numpy.hypot(east, north), 3)
    shape = (2 * ROWS, COLUMNS // 2 + 1)
    spectrum = random.standard_normal(shape) + 1j * random.standard_normal(shape)
    spectrum *= number ** -2.55
    spectrum[0, 0] = 0
    field = numpy.fft.irfft2(spectrum, s=(2 * ROWS, COLUMNS))[:ROWS]
    return field / field.std()


def main():
    path, count, filters = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    random = numpy.random.default_rng(5)
    latitude = numpy.linspace(90, -90, ROWS)
    mean = 258 + 40 * numpy.cos(numpy.radians(latitude[:, None])) ** 1.5 + 5 * waves(random)
    crest, flank = 4 * waves(random), 4 * waves(random)
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", None)
        file.createDimension("latitude", ROWS)
        file.createDimension("longitude", COLUMNS)
        for name, units, values in (("time", "hours since 1900-01-01", 876576 + numpy.arange(count)),
                                    ("latitude", "degrees_north", latitude),
                                    ("longitude", "degrees_east", numpy.arange(COLUMNS) / 4)):
            axis = file.createVariable(name, "i4" if name == "time" else "f4", (name,))
            axis.units = units
            axis[:] = values
        field = file.createVariable("t2m", "i2", ("time", "latitude", "longitude"), zlib=True,
                                    complevel=1, shuffle=filters == "shuffle",
                                    chunksizes=(1, ROWS, COLUMNS), fill_value=-32767)
        field.set_auto_maskandscale(False)
        field.units = "K"
        scale, offset = 120 / 65000, 270.0
        field.scale_factor, field.add_offset = scale, offset
        for hour in range(count):
            turn = 2 * numpy.pi * hour / 48
            values = mean + numpy.cos(turn) * crest + numpy.sin(turn) * flank
            field[hour] = numpy.clip(numpy.round((values - offset) / scale), -32766, 32767)


if __name__ == "__main__":
    main()
