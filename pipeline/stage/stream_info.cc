#include "pipeline/stage/stream_info.h"

namespace trib::pipeline {
namespace {

std::vector<std::string> names_of(const std::vector<io::Channel>& channels) {
  std::vector<std::string> names;
  names.reserve(channels.size());
  for (const io::Channel& channel : channels) names.push_back(channel.name);
  return names;
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

std::int64_t StreamInfo::sample_bytes() const {
  return static_cast<std::int64_t>((channels.size() + targets.size()) * sizeof(float)) *
         extent.height * extent.width;
}

}  // namespace trib::pipeline
