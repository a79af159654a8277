// Reader of hyperspectral cubes: HDF5 files, and through GDAL ENVI files, GeoTIFF and others.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/image_source.h"

namespace trib::io {

/// What to read of which files. Of files that are not HDF5 GDAL tells axes, wavelengths and
/// georeference, so that options on these are refused.
struct CubeOptions {
  /// Files or shell patterns, all of them HDF5 or none. An ENVI cube may be named by its header
  /// (.hdr). All must have the bands chosen in the first; sizes may differ.
  std::vector<std::string> files;

  /// The cube: a dataset's path ("/SJER/Reflectance/Reflectance_Data") or, if it is the only one of
  /// that name, the last part of it. Empty: the largest dataset of numbers with three axes, or four
  /// of which one has length 1. Of other formats: the subdataset whose name ends with this.
  std::string dataset;

  /// Meaning of the dataset's axes in file order, a permutation of "yxc" (row, column, channel).
  /// "auto": as a dimension_labels attribute or dimension scales say, else the channel axis is the
  /// one as long as the list of wavelengths, and rows come before columns.
  std::string axes = "auto";

  /// Wavelength of each channel: path of a dataset or of an attribute ("/reflectance/bands").
  /// Empty: an attribute of the cube, dataset or attribute of the groups around it called
  /// "wavelength" or the like whose length is that of an axis. Units are read from a units
  /// attribute, else values below 100 are micrometres.
  std::string wavelengths;

  /// Bands in the order wanted: "400nm..900nm" (inclusive), "550nm" (the nearest), "0.55um",
  /// names ("550.2nm", or "B01" without wavelengths), numbers from 1 ("10..20", "7"). Empty: all.
  std::vector<std::string> channels;

  /// Bands to leave out: "drop" for those that the first file calls bad (see describe_bands) or
  /// that are missing throughout in three places of it, "keep" for none, and selections like those
  /// of `channels`, for instance {"drop", "1340nm..1445nm", "1..5"}. Numbers stay those of the
  /// file.
  std::vector<std::string> bad_bands = {"drop"};

  /// Mean of so many neighbouring bands (see bin_bands).
  std::int64_t bin = 1;

  /// Resample to bands of these centres and widths ("450nm"; see spectral_targets, resample_bands),
  /// or to those of a table with columns wavelength and fwhm (see read_sensor_table). `channels`
  /// chooses the bands to make them of.
  std::vector<std::string> centres, widths;
  std::string sensor;

  /// Factor from stored to physical values. Unset: as the file says (see find_packing).
  std::optional<double> scale;

  /// Stored number that means "missing". Unset: the attributes _FillValue, Data_Ignore_Value,
  /// missing_value and nodata.
  std::optional<double> nodata;

  /// Cut each cube into tiles of this size from the top left, each an image of its own.
  std::optional<Extent> tile;

  /// Keep the smaller tiles at the right and lower border, which are dropped otherwise.
  bool keep_partial_tiles = false;

  /// Path of a dataset [y, x] of classes, may be empty. An image's label is the class most of its
  /// pixels have (of two as frequent, the lower).
  std::string labels;

  /// Bound on files held open.
  std::size_t max_open_files = 16;

  /// Bound on the decoded chunks kept of all files together. Chunks that only libhdf5 can decode
  /// are cached apart, 8 MB a file.
  std::int64_t cache_bytes = std::int64_t{256} << 20;
};

/// Open cubes by reading their headers (and, to find dead bands, a few pixels of the first).
/// Reading touches the needed bands and the window alone. Missing values become NaN. A mean of
/// bands is that of those which are not missing; it is missing where they hold less than half of
/// its weight. Throws ConfigError for a choice the files do not offer or that is ambiguous,
/// DataError for broken files and for files that do not fit together.
std::unique_ptr<ImageSource> open_cube(const CubeOptions& options);

}  // namespace trib::io
