// Where libhdf5 keeps raw bytes in a file, found out without reading them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "io/cube/hdf5_handles.h"

namespace trib::io {

/// Stored bytes of a chunk. `bytes` is 0 for one that was never written.
struct ChunkPlace {
  std::uint64_t offset = 0;  ///< from the start of the file
  std::uint64_t bytes = 0;
  std::uint32_t skipped = 0;  ///< bit i: filter i was left out
};

/// Open a file for reading through a driver of our own, in which reads can be looked up instead of
/// done (libhdf5 1.10 itself tells places of chunks by walking over all before). Files are not
/// locked. Not valid if it cannot be opened; the reason is Hdf5Session::error_text(). To be called
/// within an Hdf5Session.
Hdf5Handle open_hdf5_file(const std::string& path);

/// Where the chunk that starts at these elements lies; the dataset must be of a file opened by
/// open_hdf5_file(). None if libhdf5 fails. To be called within an Hdf5Session.
std::optional<ChunkPlace> find_chunk(const Hdf5Handle& dataset,
                                     std::span<const std::uint64_t> start);

}  // namespace trib::io
