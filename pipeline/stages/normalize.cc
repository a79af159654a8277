#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <span>

#include <fmt/format.h>

#include "io/kept_channels.h"
#include "ops/base/error.h"
#include "ops/comm/communicator.h"
#include "ops/kernels/moments.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/statistics_file.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "normalize";
  d.summary = "Bring each channel to mean 0 and standard deviation 1.";
  d.parameters = {
      param::string(
          "stats",
          "'auto' measures the first training samples before the run; anything else is the path of "
          "a file with the statistics, as 'trib stats' makes it. The run folder gets "
          "statistics/NODE.json either way.")
          .or_else("auto"),
      param::integer("samples", "Samples that 'auto' measures, over all ranks.")
          .at_least(1)
          .or_else(256),
  };
  return d;
}

static_assert(sizeof(Moments) == 6 * sizeof(double), "moments travel between ranks as numbers");

Moments moments_of_plane(const Tensor& image_cyx, std::int64_t channel) {
  const std::int64_t pixels = image_cyx.dim(1) * image_cyx.dim(2);
  return moments_of(image_cyx.data<float>() + channel * pixels, pixels);
}

class Normalize : public TransformStage {
 public:
  explicit Normalize(const StageContext& context)
      : TransformStage(context),
        path_(context.parameters.string("stats")),
        samples_(context.parameters.integer("samples")),
        speaks_(context.world_rank() == 0) {}

  StreamInfo prepare(const StreamInfo& input) override {
    input_ = input;
    measured_ = measured_channels(input);
    for (const io::Channel& channel : measured_) statistics_->channels.push_back(channel.name);
    for (const std::string& target : input.target_names()) {
      const auto& names = statistics_->channels;
      target_index_.push_back(std::find(names.begin(), names.end(), target) - names.begin());
    }
    input_.own_all();
    own_target_index_ = target_index_;
    if (path_ != "auto") load();
    StreamInfo info = input;
    info.statistics = statistics_;
    for (auto* list : {&info.channels, &info.targets}) {
      for (io::Channel& channel : *list) channel.units = "1";
    }
    return info;
  }

  void keep(const ChannelNames& own) override {
    input_.own(own);
    own_target_index_ = io::elements_at(input_.own_targets, target_index_);
  }

  void measure(const SampleFeed& feed, ops::Communicator& communicator,
               const std::string& run_folder) override {
    if (path_ == "auto") {
      measure_all(feed, communicator);
      statistics_->mean.clear();
      statistics_->std.clear();
      for (const ChannelSummary& channel : file_.channels) {
        statistics_->mean.push_back(channel.mean);
        statistics_->std.push_back(channel.std);
      }
    }
    if (communicator.rank() != 0) return;
    const std::string folder = run_folder + "/statistics";
    std::filesystem::create_directories(folder);
    write_statistics(fmt::format("{}/{}.json", folder, node()), file_);
  }

  bool works_in_place() const override { return true; }

  std::optional<ValueMaps> value_maps() const override {
    return ValueMaps{maps_of(input_.own_channels), maps_of(own_target_index_)};
  }

  void apply(Sample input, Split /*split*/, std::span<const SampleRequest> /*requests*/,
             std::vector<Sample>& output) const override {
    input.x_cyx = scaled(std::move(input.x_cyx), input_.own_channels);
    if (input.target_vyx.defined()) {
      input.target_vyx = scaled(std::move(input.target_vyx), own_target_index_);
    }
    output.push_back(std::move(input));
  }

 private:
  void load() {
    if (!std::filesystem::exists(path_)) {
      throw ConfigError(fmt::format(
          "stats: there is no file {}; make it with: trib stats GRAPH {}, or set stats: "
          "auto",
          path_, node()));
    }
    const StatisticsFile found = read_statistics_file(path_);
    *statistics_ = matching_statistics(found, path_, measured_, input_.grid);
    file_ = found;
    file_.channels.clear();
    for (const std::string& name : statistics_->channels) {
      file_.channels.push_back(
          *std::find_if(found.channels.begin(), found.channels.end(),
                        [&](const auto& channel) { return channel.name == name; }));
    }
    if (found.knows_grid || !speaks_) return;
    fmt::print(stderr,
               "note: node '{}': {} says nothing of units and grid, so they are not checked; trib "
               "stats writes files that do\n",
               node(), path_);
  }

  // Where in a sample the values of a statistic are.
  struct Measured {
    std::int64_t statistic;
    Tensor Sample::*image;
    std::int64_t plane;
  };

  // What this rank measures: of each statistic one rank of the tensor axis has charge.
  std::vector<Measured> measured_here() const {
    std::vector<Measured> list;
    if (!input_.division.distributed && input_.division.rank > 0) return list;
    for (std::size_t c = 0; c < input_.own_channels.size(); ++c) {
      list.push_back({input_.own_channels[c], &Sample::x_cyx, static_cast<std::int64_t>(c)});
    }
    for (std::size_t v = 0; v < input_.own_targets.size(); ++v) {
      if (own_target_index_[v] < std::ssize(input_.channels)) continue;
      list.push_back({own_target_index_[v], &Sample::target_vyx, static_cast<std::int64_t>(v)});
    }
    return list;
  }

  // Every sample has a slot of its own, filled by the rank that reads it: the sum over the ranks is
  // then a gather, and merging slots in order gives the same bits on any number of ranks.
  void measure_all(const SampleFeed& feed, ops::Communicator& communicator) {
    const std::vector<Measured> here = measured_here();
    const std::size_t count = here.size();
    // The last slot counts the samples.
    std::vector<Moments> slots(static_cast<std::size_t>(samples_) * count + 1);
    std::atomic<std::int64_t> samples{0};
    std::vector<Moments> totals(statistics_->channels.size());
    if (!here.empty()) {
      feed(samples_, [&](std::int64_t index, const Sample& sample) {
        Moments* slot = slots.data() + static_cast<std::size_t>(index) * count;
        for (const Measured& one : here) *slot++ = moments_of_plane(sample.*one.image, one.plane);
        ++samples;
      });
      slots.back().total = static_cast<double>(samples);
      for (const auto axis : {ops::MeshAxis::data, ops::MeshAxis::shard})
        sum(slots, axis, communicator);
    }
    for (std::size_t m = 0; m < count; ++m) {
      Moments& all = totals[static_cast<std::size_t>(here[m].statistic)];
      for (std::size_t s = 0; s + 1 < slots.size(); s += count) all.merge(slots[s + m]);
    }
    sum(totals, ops::MeshAxis::tensor, communicator);

    file_ = {};
    file_.knows_grid = true;
    file_.grid = GridMark::of(input_.grid);
    file_.origin.node = node();
    file_.origin.samples = static_cast<std::int64_t>(slots.back().total);
    for (std::size_t c = 0; c < totals.size(); ++c) {
      if (totals[c].count == 0) {
        throw DataError(fmt::format("node '{}': channel '{}' has no value in the samples measured",
                                    node(), measured_[c].name));
      }
      file_.channels.push_back(ChannelSummary::of(measured_[c], totals[c]));
    }
  }

  // Numbers that one rank has and the others leave at zero.
  static void sum(std::vector<Moments>& moments, ops::MeshAxis axis,
                  ops::Communicator& communicator) {
    communicator.all_reduce_sum(axis, std::span<double>(&moments.front().total, moments.size() * 6))
        .wait();
  }

  // `index` gives the statistics of each channel.
  std::vector<io::Affine> maps_of(const std::vector<std::int64_t>& index) const {
    std::vector<io::Affine> maps;
    for (const std::int64_t i : index) {
      const auto s = static_cast<std::size_t>(i);
      // A constant channel becomes zero.
      const double scale = statistics_->std[s] > 0 ? 1 / statistics_->std[s] : 1.0;
      maps.push_back({scale, -statistics_->mean[s] * scale});
    }
    return maps;
  }

  Tensor scaled(Tensor image, const std::vector<std::int64_t>& index) const {
    if (!image.is_unique()) image = image.clone(MemoryKind::ingest);
    const std::vector<io::Affine> maps = maps_of(index);
    const std::int64_t pixels = image.dim(1) * image.dim(2);
    for (std::int64_t c = 0; c < image.dim(0); ++c) {
      const io::Affine map = maps[static_cast<std::size_t>(c)];
      float* values = image.data<float>() + c * pixels;
      for (std::int64_t i = 0; i < pixels; ++i) {
        values[i] = static_cast<float>(values[i] * map.scale + map.offset);
      }
    }
    return image;
  }

  std::string path_;
  std::int64_t samples_;
  bool speaks_;  // for all ranks
  StreamInfo input_;
  std::vector<io::Channel> measured_;           // in the order of the statistics
  std::vector<std::int64_t> target_index_;      // of each target's statistics
  std::vector<std::int64_t> own_target_index_;  // the same of the own targets
  std::shared_ptr<ChannelStatistics> statistics_ = std::make_shared<ChannelStatistics>();
  StatisticsFile file_;  // of the run folder
};

}  // namespace

void register_normalize(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<Normalize>(context); });
}

}  // namespace trib::pipeline
