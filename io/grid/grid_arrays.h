// The variables of netCDF-4 files read as stored chunks, which several threads fetch and decode at
// once; libnetcdf serves one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "io/chunks/chunk_cache.h"
#include "io/chunks/hdf5_array.h"
#include "io/grid/grid_file.h"
#include "io/image_source.h"

namespace trib::io {

/// Fields of one variable at one time and member of a file.
struct FieldRequest {
  std::size_t file = 0, variable = 0;  ///< as in the headers
  std::int64_t time = 0, member = 0;
  Window window;  ///< rows and columns of GridHeader::grid
  struct Level {
    std::int64_t level = 0;    ///< of the file
    std::int64_t channel = 0;  ///< of the image
  };
  std::vector<Level> levels;  ///< ascending; one at the surface
};

/// Arrays of a series of files. Thread-safe.
class GridArrays {
 public:
  /// Look into the files for the variables that can be read; the headers must outlive it. Decoded
  /// chunks take up to `cache_bytes`. Throws DataError for files that cannot be opened.
  GridArrays(std::span<const GridHeader> headers, std::size_t max_open_files,
             std::int64_t cache_bytes);
  ~GridArrays();

  /// Whether read() serves a variable of a file.
  bool holds(std::size_t file, std::size_t variable) const;

  /// Write fields to their channels of an image: its pixel (0, 0) of channel 0 is at out.first,
  /// `affine_c` is of its channels. Throws DataError naming file and variable.
  void read(const FieldRequest& request, std::span<const Affine> affine_c,
            const ValueBlock& out) const;

  /// Most bytes of decoded chunks kept when these variables are read, given as pairs of file and
  /// variable.
  std::int64_t cache_bytes(std::span<const std::pair<std::size_t, std::size_t>> used) const;

  /// Keep no more than this of decoded chunks, and how much that is.
  void limit_cache(std::int64_t bytes);
  std::int64_t capacity() const { return cache_->capacity(); }

  /// Number of times, and of members, that lie in the same chunks of a variable.
  struct Together {
    std::int64_t times = 1, members = 1;
  };
  Together together(std::size_t file, std::size_t variable) const;

 private:
  struct Known;  // of a variable
  struct Open;
  std::shared_ptr<const Hdf5Array> array(std::size_t file, std::size_t variable) const;

  std::span<const GridHeader> headers_;
  std::vector<std::vector<Known>> known_;  // [file][variable]
  std::unique_ptr<ChunkCache> cache_;
  std::unique_ptr<Open> open_;
};

}  // namespace trib::io
