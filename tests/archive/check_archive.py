#!/usr/bin/env python3
"""Compare what our readers make of every file of an archive with what other tools read.

  tests/archive/check_archive.py READ_VALUES FOLDER

(the environment variable TRIB_TEST_DATA wins over FOLDER). Opens every file under FOLDER with our reader (the program READ_VALUES) and the sampled values,
names, shapes, coordinates and times with GDAL's, netCDF's and HDF5's own Python bindings (Debian:
python3-gdal python3-netcdf4 python3-h5py). Prints a Markdown table; exit status 1 if a value
differs or a file that is not known to be damaged cannot be read, 77 if the folder or a tool is
missing.
"""

import concurrent.futures
import importlib.util
import math
import os
import subprocess
import sys

NEEDED = ["numpy", "osgeo", "netCDF4", "h5py"]


def missing_tools():
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


# The bindings are Debian's, which another python3 ahead in the path does not see.
if missing_tools() and os.path.exists("/usr/bin/python3") and not os.environ.get("TRIB_ARCHIVE_RETRY"):
    os.environ["TRIB_ARCHIVE_RETRY"] = "1"
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])


class Values:
    """What READ_VALUES printed."""

    def __init__(self, text):
        self.channels, self.images, self.values = [], {}, []
        self.latitudes = self.longitudes = None
        self.count = 0
        for line in text.splitlines():
            kind, *f = line.split("\t")
            if kind == "images":
                self.count = int(f[0])
            elif kind == "channel":
                self.channels.append({"name": f[1], "units": f[2], "wavelength": float(f[3])})
            elif kind in ("latitudes", "longitudes"):
                setattr(self, kind, [float(v) for v in f])
            elif kind == "image":
                self.images[int(f[0])] = {"file": f[1], "height": int(f[2]), "width": int(f[3]),
                                          "time": float(f[4])}
            elif kind == "value":
                self.values.append((*map(int, f[:4]), float(f[4])))


class Difference(Exception):
    pass


def expect(found, expected, what):
    if found != expected:
        raise Difference(f"{what}: {found}, expected {expected}")


def run(program, reader, files):
    done = subprocess.run([program, reader, *files], capture_output=True, text=True, timeout=300)
    if done.returncode == 0:
        return Values(done.stdout), None
    return None, done.stderr.strip() or f"status {done.returncode}"


def same(found, expected):
    """Both missing, or equal as far as float32 and one multiply-add can tell."""
    if math.isnan(found) or math.isnan(expected):
        return math.isnan(found) and math.isnan(expected)
    return abs(found - expected) <= 1e-6 * max(abs(expected), 1e-30) + 1e-37


def compare(values, lookup, tolerance=0.0):
    """lookup(image, channel, y, x) tells the expected value."""
    missing = 0
    for image, channel, y, x, found in values.values:
        expected = lookup(image, channel, y, x)
        missing += math.isnan(found)
        if not same(found, expected) and not abs(found - expected) <= tolerance:
            name = values.channels[channel]["name"]
            raise Difference(f"{name} at image {image}, row {y}, column {x}: {found:.9g}, "
                             f"expected {expected:.9g}")
    return len(values.values), missing


# --- rasters, against GDAL's bindings


class RasterTruth:
    def __init__(self, path):
        from osgeo import gdal

        self.gdal = gdal
        self.dataset = gdal.Open(path)
        bands = [self.dataset.GetRasterBand(i + 1) for i in range(self.dataset.RasterCount)]
        alpha = gdal.GCI_AlphaBand
        self.bands = [b for b in bands if b.GetColorInterpretation() != alpha]
        self.alpha = next((b for b in bands if b.GetColorInterpretation() == alpha), None)
        self.cache = {}

    def array(self, band):
        import numpy

        key = band.GetBand()
        if key not in self.cache:
            stored = band.ReadAsArray()
            values = stored.astype("float64")
            values *= band.GetScale() if band.GetScale() is not None else 1
            values += band.GetOffset() or 0
            nodata = band.GetNoDataValue()
            if nodata is not None:
                values[stored == numpy.asarray(nodata).astype(stored.dtype)] = math.nan
            if band.GetMaskFlags() & self.gdal.GMF_PER_DATASET:
                values[band.GetMaskBand().ReadAsArray() == 0] = math.nan
            self.cache[key] = values
        return self.cache[key]

    def channels(self, values):
        """The bands our channels stand for: all, or all but alpha."""
        if len(values.channels) == self.dataset.RasterCount:
            return [self.dataset.GetRasterBand(i + 1) for i in range(self.dataset.RasterCount)]
        expect(len(values.channels), len(self.bands), "channels")
        return self.bands


def check_raster(values, path):
    truths = {}
    chosen = {}

    def lookup(image, channel, y, x):
        file = values.images[image]["file"]
        if file not in truths:
            truths.clear()
            truths[file] = RasterTruth(file)
            expect(values.images[image]["height"], truths[file].dataset.RasterYSize, "rows")
            expect(values.images[image]["width"], truths[file].dataset.RasterXSize, "columns")
            chosen[file] = truths[file].channels(values)
        return float(truths[file].array(chosen[file][channel])[y, x])

    return compare(values, lookup)


# --- cubes, against h5py


def find_cube(h5):
    found = []
    h5.visititems(lambda name, o: found.append(o) if getattr(o, "ndim", 0) == 3 else None)
    return max(found, key=lambda d: d.size)


def attribute(dataset, *names):
    for key, value in dataset.attrs.items():
        if key.lower() in names:
            return float(value[0] if getattr(value, "shape", ()) else value)
    return None


def check_cube(values, path):
    import h5py
    import numpy

    with h5py.File(path) as h5:
        cube = find_cube(h5)
        stored = cube[...]  # y, x, band in all of these
        lists = []
        h5.visititems(lambda name, o: lists.append(o[...])
                      if name.lower().endswith("wavelength") else None)
        scale = attribute(cube, "scale_factor") or 1.0
        missing = attribute(cube, "_fillvalue", "data_ignore_value")
    physical = stored * (1 / scale if scale > 1 else scale)
    if missing is not None:
        physical = numpy.where(stored == missing, math.nan, physical)
    # Bands that hold nothing are left out.
    alive = [b for b in range(stored.shape[2]) if not numpy.isnan(physical[:, :, b]).all()]
    expect(len(values.channels), len(alive), "channels")
    for channel, band in zip(values.channels, alive):
        if abs(channel["wavelength"] - lists[0][band]) > 1e-3:
            raise Difference(f"wavelength of {channel['name']}: {lists[0][band]}")
    expect((values.images[0]["height"], values.images[0]["width"]), stored.shape[:2], "shape")
    return compare(values, lambda i, c, y, x: float(physical[y, x, alive[c]]))


# --- fields, against netCDF's bindings

LONG_NAMES = {
    "u_component_of_wind": "u", "v_component_of_wind": "v", "geopotential": "z",
    "temperature": "t", "specific_humidity": "q", "specific_cloud_ice_water_content": "ciwc",
    "specific_cloud_liquid_water_content": "clwc", "sea_surface_temperature": "sst",
    "sea_ice_cover": "siconc",
}


class GridTruth:
    def __init__(self, path):
        import netCDF4
        import numpy

        self.numpy = numpy
        self.file = netCDF4.Dataset(path)
        self.variables = {}
        for name, v in self.file.variables.items():
            self.variables[LONG_NAMES.get(name, name)] = v
        self.cache = {}

    def axis(self, *names):
        for name in names:
            if name in self.file.variables:
                return self.file.variables[name]
        return None

    def seconds(self):
        import cftime

        time = self.axis("valid_time", "time")
        if time is None or time.shape == () or "units" not in time.ncattrs():
            return None
        calendar = getattr(time, "calendar", "standard")
        return cftime.date2num(
            cftime.num2date(time[:], time.units, calendar), "seconds since 1970-01-01", calendar)

    def array(self, name):
        if name not in self.cache:
            data = self.variables[name][...]
            self.cache[name] = self.numpy.ma.filled(data.astype("float64"), math.nan)
        return self.cache[name]


def nearest(axis, value):
    axis = [float(v) for v in axis]
    best = min(range(len(axis)), key=lambda i: abs(axis[i] - value))
    if abs(axis[best] - value) > 1e-4:
        raise Difference(f"coordinate {value} is not in the file")
    return best


def nearest_longitude(axis, value):
    return nearest([(float(v) - value + 180) % 360 - 180 for v in axis], 0)


def check_grid(values, path):
    truth = GridTruth(path)
    latitudes, longitudes = truth.axis("latitude", "lat")[:], truth.axis("longitude", "lon")[:]
    expect(values.latitudes, sorted(values.latitudes), "latitudes in order")
    expect(values.longitudes, sorted(values.longitudes), "longitudes in order")
    expect(len(values.latitudes), len(latitudes), "latitudes")
    expect(len(values.longitudes), len(longitudes), "longitudes")
    rows = {y: nearest(latitudes, values.latitudes[y]) for _, _, y, _, _ in values.values}
    columns = {x: nearest_longitude(longitudes, values.longitudes[x])
               for _, _, _, x, _ in values.values}
    levels = truth.axis("level", "pressure_level", "isobaricInhPa", "plev")
    seconds = truth.seconds()
    calendar_times = {i: image["time"] for i, image in values.images.items()}
    members = truth.file.dimensions["number"].size if "number" in truth.file.dimensions else 1

    def lookup(image, channel, y, x):
        name, _, level = values.channels[channel]["name"].rpartition("_")
        if name not in truth.variables or levels is None:
            name, level = values.channels[channel]["name"], None
        variable = truth.variables[name]
        index = []
        per_member = values.count // members
        for dimension in variable.dimensions:
            if dimension in ("latitude", "lat"):
                index.append(rows[y])
            elif dimension in ("longitude", "lon"):
                index.append(columns[x])
            elif dimension in ("level", "pressure_level"):
                index.append(nearest(levels[:], float(level)))
            elif dimension in ("time", "valid_time", "month"):
                time = calendar_times[image]
                at = image % per_member
                if not math.isnan(time) and seconds is not None:
                    at = min(range(len(seconds)), key=lambda i: abs(seconds[i] - time))
                    if abs(seconds[at] - time) > 1:
                        raise Difference(f"time {time} of image {image} is not in the file")
                index.append(at)
            elif dimension == "number":
                index.append(image // per_member)
            elif dimension == "expver":
                index.append(slice(None))
            else:
                raise Difference(f"unknown dimension {dimension} of {name}")
        found = truth.array(name)[tuple(index)]
        if truth.numpy.ndim(found) == 1:  # of final and preliminary data, the one that is there
            there = [float(v) for v in found if not math.isnan(v)]
            return there[0] if there else math.nan
        return float(found)

    return compare(values, lookup)


# --- GRIB, against GDAL's bindings


def check_grib(values, path):
    from osgeo import gdal

    gdal.SetConfigOption("GRIB_NORMALIZE_UNITS", "NO")  # kelvin stays kelvin
    dataset = gdal.Open(path)
    fields, arrays = {}, {}
    for number in range(1, dataset.RasterCount + 1):
        meta = dataset.GetRasterBand(number).GetMetadata()
        name = meta["GRIB_ELEMENT"].lower()
        if meta["GRIB_SHORT_NAME"].endswith("-ISBL"):
            level = int(meta["GRIB_SHORT_NAME"].split("-")[0])
            name += f"_{level // 100 if level > 2000 else level}"
        key = (name, int(meta["GRIB_VALID_TIME"].split()[0]))
        fields.setdefault(key, []).append(number)  # of each member, in the order of the file
    members = max(len(numbers) for numbers in fields.values())
    origin_x, step_x, _, origin_y, _, step_y = dataset.GetGeoTransform()
    latitudes = [origin_y + (i + 0.5) * step_y for i in range(dataset.RasterYSize)]
    longitudes = [origin_x + (i + 0.5) * step_x for i in range(dataset.RasterXSize)]

    def lookup(image, channel, y, x):
        time = round(values.images[image]["time"])
        number = fields[values.channels[channel]["name"], time][image // (values.count // members)]
        if number not in arrays:
            arrays[number] = dataset.GetRasterBand(number).ReadAsArray()
        return float(arrays[number][nearest(latitudes, values.latitudes[y]),
                                    nearest_longitude(longitudes, values.longitudes[x])])

    return compare(values, lookup)


# --- which reader a file is for, and what is known of the odd ones

# Files that must be refused, by what the message must contain.
DAMAGED = {
    "satellite/corrupt/byte_buggy_packbits.tif": "",
    "satellite/corrupt/byte_zstd_corrupted.tif": "",
    "satellite/corrupt/corrupt.tif": "",
    "satellite/corrupt/corrupted_deflate_singlestrip.tif": "",
    "satellite/corrupt/small_world_truncated.jp2": "",
    "era5/truncated_cds_classic.nc": "truncated",
}


def reader_of(relative):
    """(reader, what to open) or (None, why not)."""
    extension = os.path.splitext(relative)[1]
    if extension in (".md", ".py"):
        return None, "text about the files"
    if extension == ".grid":
        return None, "description of a grid, for `regrid`"
    if extension == ".csv":
        return None, "table of labels, for `label_from`"
    if extension == ".nc":
        return "grid", None
    if extension == ".h5":
        return "cube", None
    if extension in (".hdr", ".raw"):
        return "cube", None
    return "raster", None


def describe(values):
    first = values.images[min(values.images)]
    text = f"{len(values.channels)} channels {first['height']}x{first['width']}"
    if values.count > 1:
        text += f", {values.count} images"
    return text


def format_of(path, reader):
    with open(path, "rb") as file:
        magic = file.read(8)
    if magic[:3] == b"CDF":
        return "NetCDF classic"
    if magic[:4] == b"\x89HDF":
        if reader == "grid":
            return "NetCDF-4"
        return "HDF5"
    if magic[:4] == b"GRIB":
        return "GRIB"
    if magic[:2] == b"PK":
        return "ZIP"
    if magic[:4] == b"ENVI":
        return "ENVI header"
    from osgeo import gdal

    gdal.PushErrorHandler("CPLQuietErrorHandler")
    try:
        dataset = gdal.Open(path)
        return dataset.GetDriver().LongName if dataset is not None else "unknown"
    except RuntimeError:
        return "unknown"
    finally:
        gdal.PopErrorHandler()


def truth_path(path):
    """ENVI headers stand for the data file beside them."""
    return path[:-4] + ".raw" if path.endswith(".hdr") else path


def read_file(program, folder, relative):
    """(format, reader, values, error) of a file; values and error are None if it is no data."""
    path = os.path.join(folder, relative)
    reader, _ = reader_of(relative)
    if reader is None:
        return "text", None, None, None
    what = format_of(path, reader)
    files = [path]
    if what == "ZIP" and reader == "raster":
        files = [f"/vsizip/{path}/*/*.jpg"]
    if what == "GRIB":
        reader = "grid"
    return what, reader, *run(program, reader, files)


def check_file(folder, relative, what, reader, values, error):
    """(what was read, how many values were compared, result, whether that is right)"""
    path = os.path.join(folder, relative)
    if reader is None:
        return "-", "-", reader_of(relative)[1], True
    if error is not None:
        error = error.replace(folder + "/", "").replace("\n", " ")
        wanted = DAMAGED.get(relative)
        refused = (wanted is not None and wanted in error) or (what == "ZIP" and "ZIP" in error)
        return "-", "-", ("refused: " if refused else "**not read**: ") + error, refused
    try:
        if reader == "grid":
            check = check_grib if what == "GRIB" else check_grid
            compared, missing = check(values, path)
        elif what == "HDF5":
            compared, missing = check_cube(values, path)
        else:
            compared, missing = check_raster(values, truth_path(path))
    except Difference as difference:
        return describe(values), "-", f"**differs**: {difference}", False
    if relative in DAMAGED:
        return describe(values), f"{compared}", "**damage not noticed**", False
    result = "equal" + (f", {missing} missing in both" if missing else "")
    return describe(values), f"{compared}", result, True


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, folder = sys.argv[1], os.path.abspath(os.environ.get("TRIB_TEST_DATA") or sys.argv[2])
    absent = missing_tools()
    if absent or not os.path.isdir(folder):
        what = f"Python modules {', '.join(absent)}" if absent else folder
        print(f"*** NOTHING COMPARED: there is no {what}. Needed: the folder of real files and "
              "python3-gdal, python3-netcdf4, python3-h5py ***", file=sys.stderr)
        sys.exit(77)
    from osgeo import gdal

    gdal.UseExceptions()
    names = []
    for root, _, files in os.walk(folder):
        names += [os.path.relpath(os.path.join(root, f), folder) for f in files]
    lines = ["| file | format | read as | values compared | result |", "|---|---|---|---|---|"]
    wrong = 0
    total = 0
    names.sort()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda name: read_file(program, folder, name), names))
    for name, (what, reader, values, error) in zip(names, found):
        read, compared, result, ok = check_file(folder, name, what, reader, values, error)
        result = result.replace("|", "\\|")
        lines.append(f"| {name} | {what} | {read} | {compared} | {result} |")
        print(lines[-1] if len(lines) > 3 else "\n".join(lines), flush=True)
        wrong += not ok
        total += int(compared) if compared.isdigit() else 0
    print(f"\n{len(names)} files, {total} values compared, {wrong} files wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
