// Writing one shard of prepared samples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/prepared/prepared_index.h"

namespace trib::io {

/// A sample as it will stand in the files.
struct EncodedSample {
  SampleRecord record;
  std::vector<std::byte> x, target;
  std::vector<std::uint64_t> sums;  ///< of each plane before compression
  std::vector<Moments> moments;
};

/// Convert, checksum and compress a sample: `x_cyx` of all channels, `target_vyx` of all targets.
/// Thread-safe. Throws DataError, naming channel and value, for a number too large for float16.
EncodedSample encode_sample(const PreparedLayout& layout, SampleRecord record, const float* x_cyx,
                            const float* target_vyx);

/// The files of a shard take their names at commit(), the record last; without it they are removed.
/// Not thread-safe. All functions throw RuntimeError if a file cannot be written.
class ShardWriter {
 public:
  ShardWriter(const std::string& folder, std::int64_t shard, const PreparedLayout& layout,
              std::int64_t expected_samples);
  ~ShardWriter();

  /// Samples come in the order of their positions.
  void append(EncodedSample sample);
  void skip(SkippedRecord skipped);
  /// Returns what the index will say of the shard.
  ShardEntry commit();

 private:
  class File;

  std::string folder_;
  const PreparedLayout& layout_;
  std::int64_t expected_samples_;
  ShardRecord record_;
  std::vector<std::uint64_t> sums_;
  std::unique_ptr<File> x_, target_;  // null if there are no channels, no targets
};

/// The entry of a shard whose record is in `folder`; none if it is not there. Throws DataError for
/// a damaged record, and for files of other sizes than it says.
std::optional<ShardEntry> find_shard(const std::string& folder, std::int64_t shard,
                                     const PreparedLayout& layout);

}  // namespace trib::io
