#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>
#include <thread>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/base/random.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/read_error_parameters.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "read.synthetic";
  d.summary =
      "Make images of random waves in memory, to test a graph without files and with reads as slow "
      "as wanted.";
  d.inputs = StageDeclaration::Inputs::none;
  d.parameters = {
      param::integer("channels", "Number of channels, named c000, c001, ...")
          .between(1, 100000)
          .or_else(8),
      param::integer("targets",
                     "Number of channels, the first ones, whose state 24 hours later comes with "
                     "each image as its target.")
          .at_least(0)
          .or_else(0),
      param::size("size", "Height and width of the images.")
          .unit_is("pixels")
          .at_least(1)
          .or_else("[32, 32]"),
      param::integer("items", "Number of images.").at_least(1).or_else(1000),
      param::duration("delay", "How long each read blocks.").at_least(0).or_else("0s"),
      param::integer("fail_at",
                     "Image that cannot be read, to see how a graph takes it; -1 for none.")
          .at_least(-1)
          .or_else(-1),
      param::integer("fail_channel",
                     "Channel that the damage of 'fail_at' is in; -1: in all of them.")
          .at_least(-1)
          .or_else(-1),
      param::integer("hang_at", "Image whose read never ends; -1 for none.")
          .at_least(-1)
          .or_else(-1),
      param::number("holdout", "Fraction of the images, the last ones, kept for evaluation.")
          .at_least(0)
          .below(1)
          .or_else(0.0),
      param::choice("order", {"shuffled", "sequential"},
                    "Whether each epoch takes the images in a new order drawn by the seed.")
          .or_else("shuffled"),
  };
  for (ParameterSpec& spec : read_error_parameters("image"))
    d.parameters.push_back(std::move(spec));
  return d;
}

class ReadSynthetic : public SourceStage {
 public:
  explicit ReadSynthetic(const StageContext& context)
      : SourceStage(context),
        random_(context.seed, "synthetic." + context.node),
        num_channels_(context.parameters.integer("channels")),
        num_targets_(context.parameters.integer("targets")),
        extent_{context.parameters.size("size")[0], context.parameters.size("size")[1]},
        fail_at_(context.parameters.integer("fail_at")),
        fail_channel_(context.parameters.integer("fail_channel")),
        hang_at_(context.parameters.integer("hang_at")),
        delay_(context.parameters.duration_seconds("delay")),
        shuffled_(context.parameters.string("order") == "shuffled"),
        read_errors_(read_errors_of(context.parameters)) {
    const std::int64_t items = context.parameters.integer("items");
    const double holdout = context.parameters.number("holdout");
    eval_items_ = static_cast<std::int64_t>(std::ceil(holdout * static_cast<double>(items)));
    train_items_ = items - eval_items_;
    if (num_targets_ > num_channels_) {
      throw ConfigError(
          fmt::format("targets: {} of {} channels are asked for", num_targets_, num_channels_));
    }
  }

  StreamInfo prepare() override {
    info_.channels.clear();
    for (std::int64_t c = 0; c < num_channels_; ++c) {
      info_.channels.push_back({fmt::format("c{:03}", c), ""});
    }
    info_.targets.assign(info_.channels.begin(), info_.channels.begin() + num_targets_);
    info_.extent = extent_;
    info_.own_all();
    return info_;
  }
  void keep(const ChannelNames& own) override { info_.own(own); }
  std::int64_t items(Split split) const override {
    return split == Split::train || eval_items_ == 0 ? train_items_ : eval_items_;
  }
  io::Extent extent(Split /*split*/, std::int64_t /*item*/) const override { return extent_; }
  ItemOrder order() const override { return shuffled_ ? ItemOrder::shuffled : ItemOrder::listed; }
  bool holds_out() const override { return eval_items_ > 0; }
  ReadErrors read_errors() const override { return read_errors_; }
  std::string describe(Split split, std::int64_t item) const override {
    return fmt::format("synthetic image {}", image_of(split, item));
  }

  Sample read(Split split, const SampleRequest& request, const ReadTarget& target) const override {
    const std::int64_t image = image_of(split, request.item);
    if (delay_ > 0) std::this_thread::sleep_for(std::chrono::duration<double>(delay_));
    while (image == hang_at_) std::this_thread::sleep_for(std::chrono::hours(1));
    if (image == fail_at_ && reads_damage())
      throw DataError(fmt::format("synthetic image {} is broken", image));
    Sample sample;
    sample.provenance.file = fmt::format("synthetic:{}", image);
    sample.provenance.window = {0, 0, extent_.height, extent_.width};
    const RandomStream random = random_.substream(static_cast<std::uint64_t>(image));
    sample.x_cyx = waves(info_.own_channels, random, 0, target.x_cyx, target.channel_maps());
    if (num_targets_ > 0) {
      sample.target_vyx =
          waves(info_.own_targets, random, kAdvance, target.target_vyx, target.target_maps());
      sample.lead_hours = kLeadHours;
    }
    return sample;
  }

 private:
  std::int64_t image_of(Split split, std::int64_t item) const {
    return split == Split::eval && eval_items_ > 0 ? train_items_ + item : item;
  }

  bool reads_damage() const {
    const auto& own = info_.own_channels;
    return fail_channel_ < 0 || std::find(own.begin(), own.end(), fail_channel_) != own.end();
  }

  static constexpr double kTurn = 2 * std::numbers::pi;
  static constexpr float kLeadHours = 24;
  static constexpr double kAdvance = kTurn / 5;  // of the waves in that time

  // One plane wave an image; the channels see it with phases and amplitudes that change smoothly,
  // so that one channel tells of the others.
  Tensor waves(const std::vector<std::int64_t>& channels, const RandomStream& random,
               double advance, const Tensor& wanted, std::span<const io::Affine> maps) const {
    Tensor image = image_memory(wanted, {std::ssize(channels), extent_.height, extent_.width});
    float* pixel = image.data<float>();
    const double waves_y = 1 + 2 * random.uniform(0);
    const double waves_x = 1 + 2 * random.uniform(1);
    const double phase = kTurn * random.uniform(2) + advance;
    for (std::size_t i = 0; i < channels.size(); ++i) {
      const std::int64_t c = channels[i];
      const io::Affine map = maps.empty() ? io::Affine{} : maps[i];
      const double tone = static_cast<double>(c) / static_cast<double>(num_channels_);
      for (std::int64_t y = 0; y < extent_.height; ++y) {
        const double fy = static_cast<double>(y) / static_cast<double>(extent_.height);
        for (std::int64_t x = 0; x < extent_.width; ++x) {
          const double fx = static_cast<double>(x) / static_cast<double>(extent_.width);
          const double value =
              (0.5 + tone) * std::sin(kTurn * (waves_y * fy + waves_x * fx + tone) + phase);
          *pixel++ = static_cast<float>(value * map.scale + map.offset);
        }
      }
    }
    return image;
  }

  RandomStream random_;
  std::int64_t num_channels_, num_targets_;
  io::Extent extent_;
  StreamInfo info_;
  std::int64_t fail_at_, fail_channel_, hang_at_;
  double delay_;
  bool shuffled_;
  ReadErrors read_errors_;
  std::int64_t train_items_, eval_items_;
};

}  // namespace

void register_read_synthetic(Registry& registry) {
  registry.add(declaration(), [](const StageContext& context) {
    return std::make_unique<ReadSynthetic>(context);
  });
}

}  // namespace trib::pipeline
