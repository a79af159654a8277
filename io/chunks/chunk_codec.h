// From stored chunks to the numbers in them: inflate, expand, unshuffle, verify.
//
// Errors are DataErrors that say what is wrong with the bytes; callers add file and place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "io/chunks/chunk_cache.h"

namespace trib::io {

/// Inflate a zlib stream (RFC 1950) that must hold exactly out.size() bytes; its Adler-32 is
/// checked. Throws DataError.
void inflate_zlib(std::span<const std::byte> stored, std::span<std::byte> out);

/// Expand Zstandard frames that must hold exactly out.size() bytes. Throws DataError.
void expand_zstd(std::span<const std::byte> stored, std::span<std::byte> out);

/// Expand a block of LibLZF, h5py's filter "lzf", that must hold exactly out.size() bytes. Throws
/// DataError.
void expand_lzf(std::span<const std::byte> stored, std::span<std::byte> out);

/// Undo HDF5's shuffle: the n-th bytes of all elements lie together, those that make no whole
/// element lie behind unchanged. Both have the same size and do not overlap.
void unshuffle(std::size_t element_size, std::span<const std::byte> shuffled,
               std::span<std::byte> out);

/// Fletcher's checksum of bytes as HDF5 computes it.
std::uint32_t fletcher32(std::span<const std::byte> bytes);

/// One step chunks go through on their way into a file.
struct ChunkFilter {
  enum class Kind : std::uint8_t { deflate, zstd, lzf, shuffle, fletcher32 };
  Kind kind;
  std::size_t element_size = 1;  ///< of shuffle
};

/// The filter of an HDF5 file by its registered number and parameters; none if it is not known
/// here, or not of one kind with the others (szip, nbit and scaleoffset pack bits by the type).
std::optional<ChunkFilter> hdf5_filter(int id, std::span<const unsigned> parameters);

/// Undoes the filters of a dataset's chunks. Thread-safe.
class ChunkCodec {
 public:
  /// Filters in the order of writing. More than one that compresses cannot be undone here: the size
  /// between them is not known. Throws RuntimeError for such.
  explicit ChunkCodec(std::vector<ChunkFilter> filters = {});

  /// Whether a pipeline can be undone.
  static bool supports(std::span<const ChunkFilter> filters);

  /// Whether chunks with this mask are stored as they are.
  bool stored_plainly(std::uint32_t skipped) const;

  /// Decode a chunk of `size` bytes from how it is stored. Bit i of `skipped` says that filter i
  /// was left out for it. The buffer is charged to MemoryKind::ingest. Throws DataError.
  std::unique_ptr<Buffer> decode(std::span<const std::byte> stored, std::uint32_t skipped,
                                 std::size_t size) const;

 private:
  std::vector<ChunkFilter> filters_;
};

}  // namespace trib::io
