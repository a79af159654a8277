#include "pipeline/stages/image_set.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/base/random.h"
#include "pipeline/stages/open_readable.h"
#include "pipeline/stages/read_error_parameters.h"

namespace trib::pipeline {

ParameterSpec item_order_parameter() {
  return param::choice("order", {"shuffled", "grouped", "sequential"},
                       "Order of an epoch: all items in a new order drawn by the seed; groups of "
                       "items that lie in the same stored chunks in such an order, and the items "
                       "of each, so that a chunk is decoded once; or as listed.")
      .or_else("shuffled");
}

ItemOrder item_order(const ParameterValues& parameters) {
  const std::string& order = parameters.string("order");
  if (order == "sequential") return ItemOrder::listed;
  return order == "grouped" ? ItemOrder::grouped : ItemOrder::shuffled;
}

std::vector<ParameterSpec> image_set_parameters() {
  std::vector<ParameterSpec> specs{
      param::number("holdout",
                    "Fraction of the images, drawn by the seed, that is kept for evaluation.")
          .at_least(0)
          .below(1)
          .or_else(0.0),
      item_order_parameter(),
  };
  for (ParameterSpec& spec : read_error_parameters("image")) specs.push_back(std::move(spec));
  return specs;
}

ImageSetStage::ImageSetStage(const StageContext& context)
    : SourceStage(context),
      seed_(context.seed),
      holdout_(context.parameters.number("holdout")),
      order_(item_order(context.parameters)),
      read_errors_(read_errors_of(context.parameters)) {}

StreamInfo ImageSetStage::prepare() {
  unreadable_ = open_readable(
      files(), read_errors_, [this](const auto& list) { source_ = open(list); },
      [this](const std::string& file) { open({file}); });
  const std::int64_t count = source_->size();
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  if (holdout_ > 0) order = RandomStream(seed_, "holdout." + node()).permutation(count);
  const auto held_out =
      static_cast<std::ptrdiff_t>(std::ceil(holdout_ * static_cast<double>(count)));
  eval_.assign(order.begin(), order.begin() + held_out);
  train_.assign(order.begin() + held_out, order.end());
  std::sort(eval_.begin(), eval_.end());
  std::sort(train_.begin(), train_.end());
  if (holdout_ == 0) eval_ = train_;
  if (train_.empty()) {
    throw ConfigError(
        fmt::format("holdout {} keeps all {} images for evaluation", holdout_, count));
  }
  StreamInfo info;
  info.channels = source_->channels();
  info.grid = source_->grid();
  info.extent = source_->extent(0);
  for (std::int64_t i = 0; i < count && info.extents_agree; ++i) {
    info.extents_agree = source_->extent(i) == info.extent;
  }
  return info;
}

void ImageSetStage::keep(const ChannelNames& own) {
  source_->keep_channels(positions_of(own.channels, source_->channels()));
}

std::int64_t ImageSetStage::image_of(Split split, std::int64_t item) const {
  return (split == Split::train ? train_ : eval_)[static_cast<std::size_t>(item)];
}

std::int64_t ImageSetStage::items(Split split) const {
  return static_cast<std::int64_t>((split == Split::train ? train_ : eval_).size());
}

io::Extent ImageSetStage::extent(Split split, std::int64_t item) const {
  return source_->extent(image_of(split, item));
}

Sample ImageSetStage::read(Split split, const SampleRequest& request,
                           const ReadTarget& target) const {
  const std::int64_t image = image_of(split, request.item);
  const io::Extent extent = source_->extent(image);
  Sample sample;
  sample.x_cyx =
      image_memory(target.x_cyx, {std::ssize(source_->channels()), extent.height, extent.width});
  sample.provenance =
      source_->read_into(image, {}, {sample.x_cyx.data<float>(), target.channel_maps()});
  return sample;
}

std::string ImageSetStage::describe(Split split, std::int64_t item) const {
  const io::Provenance provenance = source_->provenance(image_of(split, item));
  const io::Window& window = provenance.window;
  return fmt::format("{}, rows {}..{}, columns {}..{}", provenance.file, window.y,
                     window.y + window.height - 1, window.x, window.x + window.width - 1);
}

}  // namespace trib::pipeline
