// Reader of hyperspectral cubes in HDF5 files.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/image_source.h"

namespace trib::io {

/// What to read of which files.
struct CubeOptions {
  /// Files or shell patterns. All must have the selected channels; sizes may differ.
  std::vector<std::string> files;

  /// The cube: a dataset's path ("/SJER/Reflectance/Reflectance_Data") or, if it is the only one of
  /// that name, the last part of it. Empty: the largest dataset of numbers with three axes.
  std::string dataset;

  /// Meaning of the dataset's axes in file order, a permutation of "yxc" (row, column, channel).
  /// "auto": as a dimension_labels attribute says, else the channel axis is the one as long as the
  /// list of wavelengths, and rows come before columns.
  std::string axes = "auto";

  /// Wavelength of each channel: path of a dataset or of an attribute ("/reflectance/bands").
  /// Empty: an attribute of the cube, dataset or attribute of the file called "wavelength" or
  /// "wavelengths" whose length is that of an axis. Units are read from a units attribute, else
  /// values below 100 are micrometres.
  std::string wavelengths;

  /// Channels in the order wanted: "400nm..900nm" (inclusive), "550nm" (the nearest), "0.55um",
  /// names ("550.2nm", or "B01" without wavelengths), numbers from 1 ("10..20", "7"). Empty: all.
  std::vector<std::string> channels;

  /// Factor from stored to physical values. Unset: the scale_factor attribute, by which values are
  /// multiplied, or divided if it is beyond 1 (NEON stores reflectance times 10000).
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

  /// Bound on the decoded chunks kept of all files together. Chunks that only libhdf5 can decode are
  /// cached apart, 8 MB a file.
  std::int64_t cache_bytes = std::int64_t{256} << 20;
};

/// Open cubes by reading their headers. Reading touches the chunks of the selected channels and the
/// window alone. Missing values become NaN; a channel may be missing altogether (dead detectors).
/// Throws ConfigError for a choice the files do not offer or that is ambiguous, DataError for
/// broken files and for files that do not fit together.
std::unique_ptr<ImageSource> open_cube(const CubeOptions& options);

}  // namespace trib::io
