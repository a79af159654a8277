#include "pipeline/stages/physical_values.h"

#include <algorithm>
#include <utility>

namespace trib::pipeline {

PhysicalValues::PhysicalValues(std::shared_ptr<const ChannelStatistics> statistics,
                               std::vector<io::Channel>& channels)
    : statistics_(std::move(statistics)) {
  if (statistics_ == nullptr) return;
  const std::vector<std::string>& names = statistics_->channels;
  for (io::Channel& channel : channels) {
    index_.push_back(static_cast<std::size_t>(std::find(names.begin(), names.end(), channel.name) -
                                              names.begin()));
    channel.units.clear();
  }
}

const float* PhysicalValues::of(const float* values_cp, std::int64_t pixels) {
  if (statistics_ == nullptr) return values_cp;
  physical_.resize(index_.size() * static_cast<std::size_t>(pixels));
  float* out = physical_.data();
  for (const std::size_t at : index_) {
    const bool is_known = at < statistics_->mean.size();
    const double mean = is_known ? statistics_->mean[at] : 0;
    const double std = is_known && statistics_->std[at] > 0 ? statistics_->std[at] : 1;
    for (std::int64_t i = 0; i < pixels; ++i) {
      *out++ = static_cast<float>(static_cast<double>(*values_cp++) * std + mean);
    }
  }
  return physical_.data();
}

}  // namespace trib::pipeline
