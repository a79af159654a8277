// Stages made by hand, without a graph.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "ops/comm/communicator.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/statistics_file.h"

namespace trib::pipeline {

/// A stage of type T with parameters written as in a graph.
template <class T>
std::unique_ptr<T> make_stage(const std::string& type, const std::string& yaml) {
  Registry registry;
  register_builtin_stages(registry);
  const ParameterValues parameters =
      parameters_from_text(registry.find(type)->parameters, yaml.empty() ? "{}" : yaml);
  std::unique_ptr<Stage> stage = registry.create(type, {"node", parameters, 11, 1, 0});
  T* const made = dynamic_cast<T*>(stage.get());
  EXPECT_NE(made, nullptr) << type;
  stage.release();
  return std::unique_ptr<T>(made);
}

/// The one communicator of a test program, with one rank.
inline ops::Communicator& single_rank() {
  static ops::Communicator communicator;
  static const bool is_split = (communicator.split({1, 1, 1}), true);
  EXPECT_TRUE(is_split);
  return communicator;
}

/// An image whose pixel [c, y, x] is value(c, y, x).
template <class Value>
Tensor image_of(std::int64_t channels, std::int64_t height, std::int64_t width, Value&& value) {
  Tensor image = Tensor::empty({channels, height, width}, DType::f32, MemoryKind::ingest);
  float* pixel = image.data<float>();
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width; ++x) *pixel++ = static_cast<float>(value(c, y, x));
    }
  }
  return image;
}

inline std::vector<float> values_of(const Tensor& tensor) {
  return {tensor.data<float>(), tensor.data<float>() + tensor.numel()};
}

inline StreamInfo stream_of(std::vector<std::string> channels, io::Extent extent,
                            std::vector<std::string> targets = {}) {
  StreamInfo info;
  for (std::string& name : channels) info.channels.push_back({std::move(name), "K"});
  for (std::string& name : targets) info.targets.push_back({std::move(name), "K"});
  info.extent = extent;
  return info;
}

/// A statistics file that knows means and standard deviations alone.
inline StatisticsFile statistics_file(const ChannelStatistics& statistics) {
  StatisticsFile file;
  for (std::size_t c = 0; c < statistics.channels.size(); ++c) {
    ChannelSummary channel;
    channel.name = statistics.channels[c];
    channel.mean = statistics.mean[c];
    channel.std = statistics.std[c];
    file.channels.push_back(std::move(channel));
  }
  return file;
}

/// What a file says of channels of any unit and grid.
inline ChannelStatistics statistics_in(const std::string& path, std::vector<std::string> channels) {
  StreamInfo info = stream_of(std::move(channels), {});
  for (io::Channel& channel : info.channels) channel.units.clear();
  return matching_statistics(read_statistics_file(path), path, info.channels, nullptr);
}

/// Apply a stage to one sample for `count` pieces of an epoch.
inline std::vector<Sample> apply(const TransformStage& stage, const Sample& sample,
                                 Split split = Split::train, std::int32_t count = 1,
                                 std::int64_t epoch = 0) {
  std::vector<SampleRequest> requests;
  for (std::int32_t p = 0; p < count; ++p) {
    requests.push_back({static_cast<std::uint64_t>(p), epoch, 0, 0, p});
  }
  std::vector<Sample> output;
  stage.apply(sample, split, requests, output);
  return output;
}

}  // namespace trib::pipeline
