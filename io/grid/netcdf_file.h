// An open NetCDF file: a thin owner of libnetcdf's handle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ops/base/dtype.h"

namespace trib::io {

/// Dimension of a file.
struct NetcdfDimension {
  std::string name;  ///< without its group
  std::int64_t length = 0;
};

/// Variable of a file.
struct NetcdfVariable {
  int id = 0;                   ///< within its group
  std::string name;             ///< with the groups it lies in: "t2m", "forecast/t2m"
  std::optional<DType> dtype;   ///< none for text and user types
  std::vector<int> dimensions;  ///< indexes into NetcdfFile::dimensions()
  std::size_t group = 0;        ///< number of its group in the order of the file, 0 for the root

  /// Name without groups.
  std::string local_name() const { return name.substr(name.rfind('/') + 1); }
};

/// A NetCDF file open for reading. Each call takes the lock of the HDF5 family. Errors are
/// DataErrors that name the file and the variable.
class NetcdfFile {
 public:
  /// Open and list dimensions and variables of all groups. Throws DataError, also for truncated
  /// classic files and for other formats under the name of NetCDF.
  explicit NetcdfFile(const std::string& path);
  ~NetcdfFile();
  NetcdfFile(const NetcdfFile&) = delete;
  NetcdfFile& operator=(const NetcdfFile&) = delete;

  const std::string& path() const { return path_; }
  const std::vector<NetcdfDimension>& dimensions() const { return dimensions_; }
  const std::vector<NetcdfVariable>& variables() const { return variables_; }
  /// Variable of a name, null if there is none.
  const NetcdfVariable* find(const std::string& name) const;
  /// "NetCDF-4", "NetCDF classic, 64-bit offset", ...
  std::string format() const;

  /// Text attribute, empty if absent.
  std::string text(const NetcdfVariable& variable, const char* attribute) const;
  /// Numeric attribute, empty if absent or not numeric.
  std::vector<double> numbers(const NetcdfVariable& variable, const char* attribute) const;
  /// Type of a numeric attribute, none if absent or not numeric.
  std::optional<DType> type_of(const NetcdfVariable& variable, const char* attribute) const;

  /// Extents of a variable's chunks; empty if it is stored contiguously.
  std::vector<std::int64_t> chunks(const NetcdfVariable& variable) const;
  /// Compression and shuffling for people: "shuffle, deflate 6".
  std::string filters(const NetcdfVariable& variable) const;
  /// Limit the variable's chunk cache (netCDF-4; no effect on classic files).
  void set_chunk_cache(const NetcdfVariable& variable, std::size_t bytes);

  /// All elements as doubles.
  std::vector<double> values(const NetcdfVariable& variable) const;
  /// A hyperslab in the variable's own type.
  void read(const NetcdfVariable& variable, const std::vector<std::size_t>& start,
            const std::vector<std::size_t>& count, void* out) const;

 private:
  void check(int status, const std::string& what) const;
  void list_dimensions(int group);
  void list_variables(int group, const std::string& prefix);
  void list_groups(int group, const std::string& prefix);
  int group_of(const NetcdfVariable& variable) const { return groups_[variable.group]; }

  std::string path_;
  int id_ = -1;
  std::vector<int> groups_;         // handles; the first is that of the file
  std::vector<int> dimension_ids_;  // as libnetcdf has them, of dimensions_
  std::vector<NetcdfDimension> dimensions_;
  std::vector<NetcdfVariable> variables_;
};

}  // namespace trib::io
