// Reading one shard of prepared samples.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/image_source.h"
#include "io/prepared/mapped_file.h"
#include "io/prepared/prepared_index.h"

namespace trib::io {

/// Planes to read of one sample.
struct PlaneRequest {
  std::int64_t sample = 0;         ///< within the shard
  std::vector<Range> const* kept;  ///< runs of planes of the array, ascending
  Window window;
  PixelTarget target;
};

class PreparedShard {
 public:
  /// Opens the files and checks their record and lengths against the index. Throws DataError naming
  /// what is missing or damaged.
  PreparedShard(const std::string& folder, std::int64_t shard, const PreparedLayout& layout,
                const ShardEntry& entry);

  const ShardRecord& record() const { return record_; }
  /// Read planes of x or of the target. Before a sample's planes are handed out for the first time
  /// they are compared with their checksums. Thread-safe. Throws DataError naming file, sample and
  /// channel, and the checksums expected and found.
  void read_x(const PlaneRequest& request) const { read(x_, request); }
  void read_target(const PlaneRequest& request) const { read(target_, request); }

 private:
  struct Array {
    const char* what = "";
    const ShardFile* file = nullptr;
    const std::vector<Channel>* channels = nullptr;
    std::int64_t first_sum = 0;  // among the planes of a sample
    std::unique_ptr<MappedFile> mapped;
    std::vector<std::int64_t> offsets;                     // of frames; empty if not compressed
    std::unique_ptr<std::atomic<std::uint8_t>[]> checked;  // [sample]
  };

  void open(Array& array, const ShardFile& file, const std::vector<Channel>& channels,
            std::int64_t first_sum);
  void read(const Array& array, const PlaneRequest& request) const;
  void read_plain(const Array& array, const PlaneRequest& request) const;
  void read_compressed(const Array& array, const PlaneRequest& request) const;
  void decompress(const Array& array, std::int64_t sample, std::byte* out) const;
  void check_plane(const Array& array, std::int64_t sample, std::int64_t plane,
                   const std::byte* stored) const;
  std::string path(const ShardFile& file) const { return folder_ + "/" + file.name; }

  std::string folder_;
  const PreparedLayout& layout_;
  ShardRecord record_;
  std::vector<std::uint64_t> sums_;  // [sample, plane]
  Array x_, target_;
};

}  // namespace trib::io
