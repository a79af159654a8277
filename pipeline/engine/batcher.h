// Restores the order of samples and groups them into batches.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "pipeline/engine/batch_memory.h"
#include "pipeline/engine/sampler.h"
#include "pipeline/stage/flow.h"

namespace trib::pipeline {

/// Takes packets in any order and makes batches of this rank's samples by position. Positions that
/// were skipped are closed up. Its batches may be parts of the rank's share of a global batch, for
/// steps that take several. Not thread-safe.
class Batcher {
 public:
  /// `order` tells which positions are this rank's, and begins with what is not used up. `memory`,
  /// if there is one, is told where batches begin.
  Batcher(std::int64_t batch_size, const Sampler& order, BatchMemory* memory = nullptr);

  /// Add a packet; `take` allows to use up its samples. Returns the batches it completes.
  std::vector<BatchPtr> add(const PacketPtr& packet, bool take);
  /// What is left at the end of the stream, a smaller batch; null if nothing is.
  BatchPtr rest() { return ready_.empty() ? nullptr : make_batch(); }

 private:
  struct Waiting {
    std::shared_ptr<const Credit> credit;  // given back after the sample is gone
    Sample sample;
    bool skipped = false;
  };
  BatchPtr make_batch();

  const std::size_t batch_size_;
  const Sampler& order_;
  BatchMemory* const memory_;
  std::uint64_t next_position_;
  std::uint64_t batches_ = 0;
  std::map<std::uint64_t, Waiting> waiting_;
  std::vector<Waiting> ready_;
};

}  // namespace trib::pipeline
