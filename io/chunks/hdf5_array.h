// Datasets of HDF5 files, also those behind NetCDF-4 variables, read without libhdf5 doing it: it
// tells where bytes lie, and these are fetched, decoded and unpacked by the thread that wants them.
//
// Axes: c channel, y row, x column.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/chunks/chunk_cache.h"
#include "io/chunks/chunk_codec.h"
#include "io/chunks/hdf5_places.h"
#include "io/chunks/stored_file.h"
#include "io/cube/hdf5_handles.h"
#include "io/unpack.h"

namespace trib::io {

/// Part of an axis of a dataset that is an axis of the image.
struct AxisPart {
  int axis = -1;  ///< of the dataset; -1: the image's axis has one element there
  std::int64_t begin = 0, count = 1;
  bool reversed = false;  ///< the image runs against the file
};

/// Neighbours along the channel axis of a file, and where they go.
struct ChannelRun {
  std::int64_t begin = 0, count = 1;  ///< in the file
  std::int64_t to = 0;                ///< first channel of the image
};

/// What to read of a dataset. Channels, rows and columns each lie along an axis of their own, of
/// the other axes one index is taken.
struct ArrayBox {
  std::vector<std::int64_t> index;  ///< of each axis of the dataset that is none of the image's
  int axis_c = -1;                  ///< -1: the image has one channel
  std::vector<ChannelRun> runs;     ///< ascending in the file; one of count 1 without an axis
  AxisPart y, x;
};

/// A dataset of numbers, chunked or contiguous. Thread-safe: reading takes the lock of the HDF5
/// family for looking up places alone, and for these once a chunk.
class Hdf5Array {
 public:
  /// Take over an open dataset of a file opened by open_hdf5_file(). Null if only libhdf5 can read
  /// it: numbers of other machines, filters not known to ChunkCodec, other layouts, data never
  /// written or, behind a link, in another file. To be called within an Hdf5Session.
  static std::unique_ptr<Hdf5Array> take(std::shared_ptr<const StoredFile> file,
                                         const std::string& name, Hdf5Handle dataset);

  DType dtype() const { return dtype_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  /// Extents of a chunk; empty if contiguous.
  const std::vector<std::int64_t>& chunk_shape() const { return chunk_shape_; }
  /// Take the numbers for those of another type, which differs in the sign alone. False if it is of
  /// another kind.
  bool read_as(DType dtype);
  bool is_chunked() const { return !chunk_shape_.empty(); }
  std::int64_t chunk_bytes() const { return chunk_bytes_; }
  /// Bytes of all chunks decoded; 0 without chunks.
  std::int64_t bytes_in_chunks() const;

  /// Read a box that lies within the dataset to an image: pixel (0, 0) of channel 0 is at
  /// out.first. `affine_c` is of the image's channels. Chunks come from `cache`, under the file and
  /// array of `key`. Throws DataError naming file, dataset and chunk.
  void read(const ArrayBox& box, const Packing& packing, std::span<const Affine> affine_c,
            ChunkCache& cache, ChunkKey key, const ValueBlock& out) const;

 private:
  Hdf5Array() = default;

  struct Part;
  struct Reading;
  bool find_layout(std::int64_t properties);
  bool find_filters(std::int64_t properties);
  void read_chunks(const Reading& reading, ChunkCache& cache, ChunkKey key) const;
  void read_contiguous(const Reading& reading, std::span<const ChannelRun> runs) const;
  Chunk chunk(ChunkCache& cache, const ChunkKey& key, std::span<const std::int64_t> first) const;
  Chunk decode(const ChunkPlace& place) const;
  ChunkPlace place(std::uint64_t number, std::span<const std::int64_t> first) const;

  std::shared_ptr<const StoredFile> file_;
  std::string name_;
  Hdf5Handle dataset_;
  DType dtype_ = DType::f32;
  std::vector<std::int64_t> shape_;
  std::vector<std::int64_t> chunk_shape_;   // empty if contiguous
  std::vector<std::int64_t> chunk_counts_;  // along each axis
  std::int64_t chunk_bytes_ = 0;
  std::uint64_t offset_ = 0;  // of contiguous data
  ChunkCodec codec_;
  std::vector<std::byte> fill_;  // one element
  mutable std::mutex places_mutex_;
  mutable std::unordered_map<std::uint64_t, ChunkPlace> places_;
};

}  // namespace trib::io
