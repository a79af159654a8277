// The order of samples: a function of the seed alone.
//
// The stream of a split is endless. Each epoch lists all items in a seeded permutation, each with
// its pieces (crops) one after another; inside windows of `shuffle_window` samples the order is
// permuted again. Position g of the stream belongs to global batch g / B; the B samples of a batch
// are dealt to the ranks in contiguous shares. Neither threads nor the number of ranks change which
// sample stands at which position, so a run can go on where another stopped, on any number of
// ranks.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "pipeline/stage/flow.h"
#include "pipeline/stage/item_order.h"

namespace trib::pipeline {

/// The samples that a training has used up: of each rank that shared the stream all its positions
/// below one of its own. Ranks that skipped different numbers of broken samples stand at different
/// places, so what is used up need not be a beginning of the stream.
struct ConsumedSamples {
  std::int64_t batch_size = 0;                ///< B, over all ranks
  int ranks = 0;                              ///< 0: nothing is used up
  std::vector<std::uint64_t> next_positions;  ///< [rank]: its positions below are used up
  /// What the runs before on other numbers of ranks used up beyond that; they have none themselves.
  std::vector<ConsumedSamples> earlier = {};

  bool contains(std::uint64_t position) const;
  /// The smallest position from `position` on that is not used up.
  std::uint64_t next_open(std::uint64_t position) const;
  /// What is used up after a run that began with this and shared batches of `batch` samples. The
  /// place [rank] of a rank is one more than the position of the last sample it used.
  ConsumedSamples continued(std::int64_t batch, std::vector<std::uint64_t> places) const;
  /// Throws DataError if the numbers do not belong together.
  void check() const;
};

struct SamplerOptions {
  std::uint64_t seed = 0;
  std::vector<std::vector<std::int32_t>> pieces;  ///< [source][item]: samples made of the item
  std::vector<ItemOrder> order;  ///< [source]; one `listed` keeps the listed order of all
  /// [source][item]: items with one number are taken together; empty unless grouped.
  std::vector<std::vector<std::int64_t>> groups;
  std::int64_t batch_size = 1;      ///< B, over all ranks
  std::int64_t shuffle_window = 0;  ///< 0: pieces of an item stay together
  int ranks = 1;
  int rank = 0;
  std::int64_t epochs = 0;   ///< 0: endless
  ConsumedSamples consumed;  ///< not handed out again
};

/// One read: an item with the samples of this rank that are cut from it.
struct ReadTask {
  std::vector<SampleRequest> requests;  ///< same source and item, by position
};

/// Hands out reads in the order in which their first samples are needed: those of all positions of
/// this rank that are not used up. Not thread-safe.
class Sampler {
 public:
  /// Throws DataError if options.consumed cannot be.
  explicit Sampler(SamplerOptions options);

  /// The next read of this rank, none at the end of the last epoch.
  std::optional<ReadTask> next();

  std::int64_t samples_per_epoch() const { return samples_per_epoch_; }
  /// Most samples of this rank within a window; what may have to wait before a batch is complete.
  std::int64_t largest_window() const;
  /// Most samples of a task.
  std::int64_t largest_task() const { return largest_task_; }
  /// Place of an own position among all of this rank, used up or not.
  std::uint64_t own_index(std::uint64_t position) const;
  /// Smallest position greater than or equal to `position` that belongs to this rank and
  /// is not used up.
  std::uint64_t own_position(std::uint64_t position) const;
  /// A number that tells streams apart which differ in what stands at a position: by seed, pieces
  /// of the items, shuffling or shuffle window. The same on all ranks and on any number of them.
  std::uint64_t fingerprint() const;

 private:
  std::int64_t window() const;
  std::int32_t pieces_of(std::size_t listed) const;
  bool keeps_listed_order() const;
  std::vector<std::int64_t> shuffled_items() const;
  std::uint64_t share_position(std::uint64_t position) const;
  void fill_window();
  void start_epoch();

  SamplerOptions options_;
  std::int64_t samples_per_epoch_ = 0;
  std::int64_t largest_task_ = 0;
  std::int64_t share_;                                        // samples of a batch on this rank
  std::vector<std::pair<std::int32_t, std::int64_t>> items_;  // (source, item) as listed
  std::vector<std::int64_t> order_;                           // this epoch's permutation of items_
  std::size_t order_at_ = 0;                                  // item the next window starts in
  std::int32_t piece_at_ = 0;                                 // piece of it
  std::int64_t epoch_ = -1;
  std::uint64_t position_ = 0;    // stream position of the next window
  std::vector<ReadTask> window_;  // tasks of the current window
  std::size_t window_at_ = 0;
};

}  // namespace trib::pipeline
