// What is known of an edge before anything is read.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/image.h"
#include "io/image_source.h"
#include "model/parallel/division.h"

namespace trib::model {
class Model;
}

namespace trib::pipeline {

enum class StreamKind : std::uint8_t { samples, batches, steps };

/// Name of a kind as it stands in messages.
const char* name_of(StreamKind kind);

/// Mean and standard deviation of each channel, in the channel's units.
struct ChannelStatistics {
  std::vector<std::string> channels;
  std::vector<double> mean;
  std::vector<double> std;
};

/// Channels and targets by name.
struct ChannelNames {
  std::vector<std::string> channels, targets;
};

/// The promise an edge makes to the stages after it. Layout is never guessed: what a stage needs
/// and does not find here is an error at prepare.
struct StreamInfo {
  StreamKind kind = StreamKind::samples;
  std::vector<io::Channel> channels;
  std::vector<io::Channel> targets;  ///< of the image to predict; empty: none
  /// Which of them this rank works on: ascending positions in the two lists, which always name all.
  std::vector<std::int64_t> own_channels, own_targets;
  model::Division division;                             ///< that made them this rank's
  bool extents_agree = true;                            ///< whether all images have `extent`
  io::Extent extent;                                    ///< of the first image
  std::shared_ptr<const io::LatLonGrid> grid;           ///< null if not on one
  std::shared_ptr<const ChannelStatistics> statistics;  ///< filled in before the run by normalize
  std::int64_t batch_size = 0;          ///< samples of this rank, for batches and steps
  std::shared_ptr<model::Model> model;  ///< for steps

  std::vector<std::string> channel_names() const;
  std::vector<std::string> target_names() const;
  std::vector<std::string> own_channel_names() const;
  std::vector<std::string> own_target_names() const;
  /// Make all channels and targets this rank's own.
  void own_all();
  /// Make those of these names this rank's own.
  void own(const ChannelNames& names);
  /// Bytes of one sample of this size, of `extent` if left out, on this rank.
  std::int64_t sample_bytes(const io::Extent& size) const;
  std::int64_t sample_bytes() const { return sample_bytes(extent); }
};

/// Positions of those of `channels` that are among `names`, ascending.
std::vector<std::int64_t> positions_of(const std::vector<std::string>& names,
                                       const std::vector<io::Channel>& channels);

}  // namespace trib::pipeline
