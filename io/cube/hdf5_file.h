// An open HDF5 file: datasets, attributes and hyperslabs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/cube/hdf5_handles.h"
#include "ops/base/dtype.h"
#include "ops/base/shape.h"

namespace trib::io {

/// Dataset of a file.
struct Hdf5Dataset {
  std::string path;            ///< "/SJER/Reflectance/Reflectance_Data"
  std::optional<DType> dtype;  ///< type to read it as; none for text and compounds
  std::string stored_type;     ///< for people: "f32", "f16", "bool", "text", "compound"
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> chunks;  ///< empty if stored contiguously
  std::string filters;               ///< "shuffle, deflate 6"

  /// Last part of the path.
  std::string name() const;
};

/// An HDF5 file open for reading. Each call takes the lock of the HDF5 family. Errors are
/// DataErrors that name the file and the dataset.
class Hdf5File {
 public:
  /// Open and list the datasets. Throws DataError.
  explicit Hdf5File(const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<Hdf5Dataset>& datasets() const { return datasets_; }
  /// Dataset of a path, with or without the leading slash; null if there is none.
  const Hdf5Dataset* find(const std::string& dataset_path) const;

  /// Numeric attribute of an object by name, whatever its case; empty if absent or not numeric.
  /// Numbers may be written as text.
  std::vector<double> numbers(const std::string& object, const std::string& attribute) const;
  /// Text attribute, likewise; the first of several strings.
  std::string text(const std::string& object, const std::string& attribute) const;
  /// All strings of a text attribute, likewise.
  std::vector<std::string> texts(const std::string& object, const std::string& attribute) const;
  /// Names of an object's attributes.
  std::vector<std::string> attributes(const std::string& object) const;
  /// Names of a dataset's axes: those of the dimension scales attached to it, as netCDF-4 does.
  /// Empty where an axis has none.
  std::vector<std::string> scale_names(const Hdf5Dataset& dataset) const;
  /// All strings of a dataset of text, and the first one.
  std::vector<std::string> texts(const Hdf5Dataset& dataset) const;
  std::string text(const Hdf5Dataset& dataset) const;

  /// Open a dataset for reading with a chunk cache of so many bytes.
  Hdf5Handle open(const Hdf5Dataset& dataset, std::size_t cache_bytes) const;
  /// All elements as doubles, also those of numbers written as text.
  std::vector<double> values(const Hdf5Dataset& dataset) const;

  /// Inclusive-exclusive range along an axis.
  using Range = std::pair<std::int64_t, std::int64_t>;
  /// Read a box, in the dataset's dtype and axis order. Along `axis` the box is the union of
  /// `ranges`, ascending and apart; along the others begin and end stand in `box`.
  void read(const Hdf5Dataset& dataset, const Hdf5Handle& handle, std::span<const Range> box,
            std::size_t axis, std::span<const Range> ranges, void* out) const;

 private:
  [[noreturn]] void fail(const std::string& what) const;
  Hdf5Handle open_attribute(const std::string& object, const std::string& attribute) const;
  Hdf5Dataset describe(const std::string& dataset_path, const Hdf5Handle& dataset) const;

  std::string path_;
  Hdf5Handle file_;
  std::vector<Hdf5Dataset> datasets_;
};

}  // namespace trib::io
