// From normalised values back to those in the channels' units.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "io/image.h"
#include "pipeline/stage/stream_info.h"

namespace trib::pipeline {

/// Undoes what `normalize` did. Without statistics values stay as they are.
class PhysicalValues {
 public:
  PhysicalValues() = default;
  /// Of an edge with these channels; their units are taken away if they were normalised, since the
  /// edge no longer knows them. Channels without statistics (that joined later) stay as they are.
  PhysicalValues(std::shared_ptr<const ChannelStatistics> statistics,
                 std::vector<io::Channel>& channels);

  /// The values of an image [channel, pixels]; valid until the next call.
  const float* of(const float* values_cp, std::int64_t pixels);

 private:
  std::shared_ptr<const ChannelStatistics> statistics_;  // filled in before the run; null for none
  std::vector<std::size_t> index_;                       // of each channel's statistics
  std::vector<float> physical_;
};

}  // namespace trib::pipeline
