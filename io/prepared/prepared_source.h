// Samples prepared by `trib prepare`, with their targets.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "io/image_source.h"
#include "io/prepared/prepared_index.h"
#include "io/prepared/prepared_shard.h"

namespace trib::io {

struct PreparedOptions {
  std::string path;                   ///< folder with an index.json
  std::vector<std::string> channels;  ///< see select_channels(); empty: all
  std::vector<std::string> targets;   ///< the same of the targets
};

/// Images are samples, in the order in which they were prepared. Opening reads the index; a shard
/// is opened when one of its samples is first asked for. Values are those that were prepared: with
/// scaling(), normalised ones. Where the files are not compressed, a channel that is not kept is
/// not read.
class PreparedSource final : public ImageSource {
 public:
  /// Throws DataError and ConfigError.
  explicit PreparedSource(const PreparedOptions& options);

  const std::vector<Channel>& channels() const override { return x_.channels; }
  void keep_channels(std::span<const std::int64_t> channels) override { keep(x_, channels); }
  std::int64_t size() const override { return first_sample_.back(); }
  Extent extent(std::int64_t /*index*/) const override { return index_.head.layout.extent; }
  /// Opens the shard.
  Provenance provenance(std::int64_t index) const override;
  std::shared_ptr<const LatLonGrid> grid() const override { return index_.head.grid; }
  Provenance read_into(std::int64_t index, const std::optional<Window>& window,
                       const PixelTarget& target) const override;
  std::int64_t bytes_decoded() const override { return bytes_decoded_; }

  /// The same for the targets.
  const std::vector<Channel>& targets() const { return target_.channels; }
  void keep_targets(std::span<const std::int64_t> targets) { keep(target_, targets); }
  void read_target_into(std::int64_t index, const PixelTarget& target) const;
  /// Time from a sample to its target.
  float lead_hours(std::int64_t index) const;

  const PreparedHead& head() const { return index_.head; }
  /// What to call a sample in messages, without opening its shard.
  std::string describe(std::int64_t index) const;

 private:
  /// The part of an array that is read.
  struct Selection {
    std::vector<Channel> channels;
    std::vector<std::int64_t> planes;  // of the array, one a channel
    std::vector<Range> runs;           // the same, if they ascend
  };
  struct Place {
    std::int64_t shard = 0, sample = 0;
  };

  void select(Selection& selection, const std::vector<Channel>& available,
              const std::vector<std::string>& wanted) const;
  static void keep(Selection& selection, std::span<const std::int64_t> kept);
  static void find_runs(Selection& selection);
  Place place(std::int64_t index) const;
  const PreparedShard& shard(std::int64_t number) const;

  std::string folder_;
  PreparedIndex index_;
  std::vector<std::int64_t> first_sample_;  // [shard], and behind the last
  Selection x_, target_;
  struct Slot {
    std::mutex mutex;
    std::unique_ptr<const PreparedShard> shard;  // null: not opened
  };
  mutable std::unique_ptr<Slot[]> shards_;
  mutable std::atomic<std::int64_t> bytes_decoded_{0};
};

/// Compare all checksums of the set in a folder. Returns a line for each damage; none: it is whole.
/// Throws DataError if there is no index.
std::vector<std::string> verify_prepared(const std::string& folder);

}  // namespace trib::io
