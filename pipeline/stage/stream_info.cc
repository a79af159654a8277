#include "pipeline/stage/stream_info.h"

#include <numeric>
#include <unordered_set>

#include "io/kept_channels.h"

namespace trib::pipeline {
namespace {

std::vector<std::string> names_of(const std::vector<io::Channel>& channels) {
  std::vector<std::string> names;
  names.reserve(channels.size());
  for (const io::Channel& channel : channels) names.push_back(channel.name);
  return names;
}

std::vector<std::int64_t> all_positions(std::size_t count) {
  std::vector<std::int64_t> positions(count);
  std::iota(positions.begin(), positions.end(), std::int64_t{0});
  return positions;
}

}  // namespace

const char* name_of(StreamKind kind) {
  switch (kind) {
    case StreamKind::samples:
      return "samples";
    case StreamKind::batches:
      return "batches";
    case StreamKind::steps:
      return "model steps";
  }
  return "?";
}

std::vector<std::string> StreamInfo::channel_names() const {
  return names_of(channels);
}
std::vector<std::string> StreamInfo::target_names() const {
  return names_of(targets);
}

std::vector<std::string> StreamInfo::own_channel_names() const {
  return names_of(io::elements_at<io::Channel>(own_channels, channels));
}
std::vector<std::string> StreamInfo::own_target_names() const {
  return names_of(io::elements_at<io::Channel>(own_targets, targets));
}

void StreamInfo::own_all() {
  own_channels = all_positions(channels.size());
  own_targets = all_positions(targets.size());
}
void StreamInfo::own(const ChannelNames& names) {
  own_channels = positions_of(names.channels, channels);
  own_targets = positions_of(names.targets, targets);
}

std::int64_t StreamInfo::sample_bytes(const io::Extent& size) const {
  return static_cast<std::int64_t>((own_channels.size() + own_targets.size()) * sizeof(float)) *
         size.height * size.width;
}

std::vector<std::int64_t> positions_of(const std::vector<std::string>& names,
                                       const std::vector<io::Channel>& channels) {
  const std::unordered_set<std::string> wanted(names.begin(), names.end());
  std::vector<std::int64_t> positions;
  for (std::size_t c = 0; c < channels.size(); ++c) {
    if (wanted.contains(channels[c].name)) positions.push_back(static_cast<std::int64_t>(c));
  }
  return positions;
}

}  // namespace trib::pipeline
