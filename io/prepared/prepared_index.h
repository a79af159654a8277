// What a folder of prepared samples says of itself. docs/preparation.md describes the files:
//
//   index.json           the head, and a list of all shards; there once all are
//   preparation.json     the head alone, from the start: what every job must agree on
//   x-00000.npy          [samples, channels, y, x] of shard 0; x-00000.npy.zst if compressed
//   target-00000.npy     the same of the targets, if there are any
//   sums-00000.npy       [samples, channels + targets] XXH3-64 of each plane as stored,
//   uncompressed shard-00000.json     its record: written last, so a shard that has one is whole
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/image.h"
#include "io/image_source.h"
#include "ops/base/split.h"
#include "ops/kernels/moments.h"

namespace trib::io {

enum class PreparedType : std::uint8_t { f32, f16 };

/// Shape and coding of the shards of a set.
struct PreparedLayout {
  std::vector<Channel> channels, targets;
  Extent extent;
  PreparedType type = PreparedType::f32;
  int zstd_level = 0;  ///< 0: not compressed

  bool is_compressed() const { return zstd_level != 0; }
  std::int64_t value_bytes() const { return type == PreparedType::f32 ? 4 : 2; }
  std::int64_t plane_values() const { return extent.height * extent.width; }
  std::int64_t plane_bytes() const { return plane_values() * value_bytes(); }
  std::int64_t num_channels() const { return std::ssize(channels); }
  std::int64_t num_targets() const { return std::ssize(targets); }
  std::int64_t num_planes() const { return num_channels() + num_targets(); }
  /// Bytes of a sample with its target, uncompressed.
  std::int64_t sample_bytes() const { return num_planes() * plane_bytes(); }
};

/// Means and standard deviations that the values were normalised by.
struct PreparedScaling {
  std::vector<std::string> channels;
  std::vector<double> mean, std;
};

/// What all shards of a set have in common.
struct PreparedHead {
  PreparedLayout layout;
  std::shared_ptr<const LatLonGrid> grid;  ///< null if on none
  std::optional<PreparedScaling> scaling;  ///< none: values are physical
  std::string split;                       ///< "train" or "eval"
  std::int64_t positions = 0;              ///< of the stream that was prepared
  std::int64_t shard_samples = 0;          ///< positions of a shard
  std::string made_from;                   ///< a JSON object that says how it was made

  std::int64_t num_shards() const { return (positions + shard_samples - 1) / shard_samples; }
  /// Positions of the stream in a shard.
  Range shard_positions(std::int64_t shard) const {
    return {shard * shard_samples, std::min((shard + 1) * shard_samples, positions)};
  }
  std::string to_json() const;
  /// Throws DataError naming `path`.
  static PreparedHead from_json(const std::string& text, const std::string& path);
};

/// One file of a shard.
struct ShardFile {
  std::string name;
  std::int64_t bytes = 0;
  std::string xxh3;                  ///< of the whole file, 16 hexadecimal digits
  std::vector<std::int64_t> frames;  ///< bytes of the zstd frame of each sample; none: stored plain
};

/// A sample of a shard, but for its values.
struct SampleRecord {
  std::int64_t position = 0;  ///< in the stream that was prepared
  float lead_hours = 0;
  Provenance provenance;
};

struct SkippedRecord {
  std::int64_t position = 0;
  std::string item, error;
};

/// All about a shard.
struct ShardRecord {
  std::int64_t shard = 0;
  ShardFile x, target, sums;  ///< target: without a name if there is none
  std::vector<SampleRecord> samples;
  std::vector<SkippedRecord> skipped;
  std::vector<Moments> moments;  ///< of each channel, then of each target

  std::string to_json() const;
  /// Throws DataError naming `path`.
  static ShardRecord from_json(const std::string& text, const std::string& path,
                               const PreparedLayout& layout);
};

/// A shard in the index.
struct ShardEntry {
  std::int64_t samples = 0;
  std::int64_t bytes = 0;  ///< of its files but the record
  std::string xxh3;        ///< of its record
};

struct PreparedIndex {
  PreparedHead head;
  std::vector<ShardEntry> shards;

  std::int64_t samples() const;
  std::string to_json() const;
  static PreparedIndex from_json(const std::string& text, const std::string& path);
};

inline constexpr const char* kIndexName = "index.json";
inline constexpr const char* kPreparationName = "preparation.json";

/// "x-00007.npy", "shard-00007.json".
std::string shard_file_name(const std::string& what, std::int64_t shard, const std::string& ending);
/// XXH3-64 as it stands in the files.
std::string xxh3_text(const void* data, std::size_t bytes);
std::string xxh3_of_file(const std::string& path);
/// Contents of a file; throws DataError naming it.
std::string read_text_file(const std::string& path);

}  // namespace trib::io
