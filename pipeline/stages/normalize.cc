#include <algorithm>
#include <cmath>
#include <filesystem>
#include <span>

#include <fmt/format.h>

#include "io/kept_channels.h"
#include "ops/base/error.h"
#include "ops/comm/communicator.h"
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
          "a file with the statistics. The run folder gets statistics/NODE.json either way.")
          .or_else("auto"),
      param::integer("samples", "Samples that 'auto' measures, over all ranks.")
          .at_least(1)
          .or_else(256),
  };
  return d;
}

/// Count, mean and sum of squared deviations of the finite values of one channel of one sample, as
/// they travel between ranks.
struct Moments {
  double count = 0, mean = 0, m2 = 0;

  // Chan, Golub & LeVeque (1983).
  void merge(const Moments& other) {
    if (other.count == 0) return;
    const double total = count + other.count;
    const double delta = other.mean - mean;
    mean += delta * other.count / total;
    m2 += other.m2 + delta * delta * count * other.count / total;
    count = total;
  }
};
static_assert(sizeof(Moments) == 3 * sizeof(double));

Moments moments_of(const Tensor& image_cyx, std::int64_t channel) {
  const std::int64_t pixels = image_cyx.dim(1) * image_cyx.dim(2);
  const float* values = image_cyx.data<float>() + channel * pixels;
  Moments moments;
  for (std::int64_t i = 0; i < pixels; ++i) {
    if (!std::isfinite(values[i])) continue;
    moments.count += 1;
    const double delta = values[i] - moments.mean;
    moments.mean += delta / moments.count;
    moments.m2 += delta * (values[i] - moments.mean);
  }
  return moments;
}

class Normalize : public TransformStage {
 public:
  explicit Normalize(const StageContext& context)
      : TransformStage(context),
        path_(context.parameters.string("stats")),
        samples_(context.parameters.integer("samples")) {}

  StreamInfo prepare(const StreamInfo& input) override {
    input_ = input;
    statistics_->channels = input.channel_names();
    // A target of the same name is the same field; others have statistics of their own.
    for (const std::string& target : input.target_names()) {
      auto& names = statistics_->channels;
      auto at = std::find(names.begin(), names.end(), target);
      if (at == names.end()) at = names.insert(names.end(), target);
      target_index_.push_back(at - names.begin());
    }
    input_.own_all();
    own_target_index_ = target_index_;
    if (path_ != "auto") *statistics_ = read_statistics(path_, statistics_->channels);
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
      *statistics_ = measured(feed, communicator);
    }
    if (communicator.rank() != 0) return;
    const std::string folder = run_folder + "/statistics";
    std::filesystem::create_directories(folder);
    write_statistics(fmt::format("{}/{}.json", folder, node()), *statistics_);
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
  ChannelStatistics measured(const SampleFeed& feed, ops::Communicator& communicator) const {
    const std::vector<Measured> here = measured_here();
    const std::size_t count = here.size();
    std::vector<Moments> slots(static_cast<std::size_t>(samples_) * count);
    std::vector<Moments> totals(statistics_->channels.size());
    if (!here.empty()) {
      feed(samples_, [&](std::int64_t index, const Sample& sample) {
        Moments* slot = slots.data() + static_cast<std::size_t>(index) * count;
        for (const Measured& one : here) *slot++ = moments_of(sample.*one.image, one.plane);
      });
      for (const auto axis : {ops::MeshAxis::data, ops::MeshAxis::shard})
        sum(slots, axis, communicator);
    }
    for (std::size_t m = 0; m < count; ++m) {
      Moments& all = totals[static_cast<std::size_t>(here[m].statistic)];
      for (std::size_t s = 0; s < slots.size(); s += count) all.merge(slots[s + m]);
    }
    sum(totals, ops::MeshAxis::tensor, communicator);

    ChannelStatistics statistics;
    statistics.channels = statistics_->channels;
    for (std::size_t c = 0; c < totals.size(); ++c) {
      if (totals[c].count == 0) {
        throw DataError(fmt::format("node '{}': channel '{}' has no value in the samples measured",
                                    node(), statistics.channels[c]));
      }
      statistics.mean.push_back(totals[c].mean);
      statistics.std.push_back(std::sqrt(totals[c].m2 / totals[c].count));
    }
    return statistics;
  }

  // Numbers that one rank has and the others leave at zero.
  static void sum(std::vector<Moments>& moments, ops::MeshAxis axis,
                  ops::Communicator& communicator) {
    communicator.all_reduce_sum(axis, std::span<double>(&moments.front().count, moments.size() * 3))
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
  StreamInfo input_;
  std::vector<std::int64_t> target_index_;      // of each target's statistics
  std::vector<std::int64_t> own_target_index_;  // the same of the own targets
  std::shared_ptr<ChannelStatistics> statistics_ = std::make_shared<ChannelStatistics>();
};

}  // namespace

void register_normalize(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<Normalize>(context); });
}

}  // namespace trib::pipeline
