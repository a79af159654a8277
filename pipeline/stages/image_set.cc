#include "pipeline/stages/image_set.h"

#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "pipeline/stage/no_sample.h"
#include "pipeline/stages/read_error_parameters.h"
#include "pipeline/stages/window_list.h"

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
      param::choice("sampling", {"whole", "grid", "random", "windows", "points"},
                    "What a sample is: a whole image, a window at each place of a grid, windows at "
                    "random places, listed windows, or windows around points.")
          .or_else("whole"),
      param::size("size", "Height and width of the windows of grid, random and points.")
          .unit_is("pixels")
          .at_least(1),
      param::integer("per_image", "Random windows of an image in an epoch; 1 if left out.")
          .at_least(1),
      param::size("stride", "Step of the grid; the size of a window if left out.")
          .unit_is("pixels")
          .at_least(1),
      param::size("overlap", "What neighbours in the grid share, in place of 'stride'.")
          .unit_is("pixels")
          .at_least(0),
      param::strings("windows",
                     "Windows 'y,x,height,width' of every image, 'path,y,x,height,width' of one, "
                     "or a table.csv with these columns and perhaps label."),
      param::strings(
          "points",
          "Points 'x,y' of every image, 'path,x,y' of one, or a table.csv with columns "
          "path, x, y (pixels), perhaps crs (coordinates) and label, or path, lon, lat."),
      param::number("min_valid",
                    "Least fraction of valid pixels in the first channel; random windows below "
                    "are drawn again, up to 16 times, and others are left out.")
          .between(0, 1)
          .or_else(0.0),
      param::boolean("stratify", "Meet all class labels equally often, however rare they are.")
          .or_else(false),
      param::numbers("classes",
                     "With 'stratify', the classes to draw random windows of where labels change "
                     "inside of images.")
          .at_least(0),
      param::number("holdout", "Fraction that is kept for evaluation.")
          .at_least(0)
          .below(1)
          .or_else(0.0),
      param::choice("holdout_by", {"image", "area"},
                    "Hold out images, drawn by the seed, or of each image a strip at its right or "
                    "lower end, whichever side is longer.")
          .or_else("image"),
      item_order_parameter(),
  };
  for (ParameterSpec& spec : read_error_parameters("image")) specs.push_back(std::move(spec));
  return specs;
}

ImageSetStage::ImageSetStage(const StageContext& context)
    : SourceStage(context),
      seed_(context.seed),
      min_valid_(context.parameters.number("min_valid")),
      order_(item_order(context.parameters)),
      read_errors_(read_errors_of(context.parameters)) {
  read_sampling(context.parameters);
}

void ImageSetStage::read_sampling(const ParameterValues& p) {
  const std::string& sampling = p.string("sampling");
  // A parameter that belongs to another sampling would be passed over in silence.
  struct Use {
    const char* name;
    std::array<const char*, 3> samplings;
  };
  const std::array<Use, 7> uses = {{{"size", {"grid", "random", "points"}},
                                    {"per_image", {"random"}},
                                    {"stride", {"grid"}},
                                    {"overlap", {"grid"}},
                                    {"windows", {"windows"}},
                                    {"points", {"points"}},
                                    {"classes", {"random"}}}};
  for (const Use& use : uses) {
    bool is_used = false;
    for (const char* one : use.samplings) is_used |= one != nullptr && sampling == one;
    if (!is_used && p.has(use.name)) {
      throw ConfigError(fmt::format("{}: has no meaning with sampling: {}", use.name, sampling));
    }
    const std::string_view name = use.name;
    const bool is_needed = name == "size" || name == "windows" || name == "points";
    if (is_used && is_needed && !p.has(use.name)) {
      throw ConfigError(fmt::format("{}: is needed with sampling: {}", use.name, sampling));
    }
  }
  const auto pair = [&](const char* name) {
    const SizeValue value = p.size(name);
    return io::Extent{value[0], value[1]};
  };
  options_.sampling = sampling == "whole"    ? Sampling::whole
                      : sampling == "grid"   ? Sampling::grid
                      : sampling == "random" ? Sampling::random
                                             : Sampling::listed;
  if (p.has("size")) options_.size = pair("size");
  if (p.has("per_image")) options_.per_image = p.integer("per_image");
  options_.stride = p.has("stride") ? pair("stride") : options_.size;
  if (p.has("overlap")) {
    if (p.has("stride")) throw ConfigError("overlap: give either stride or overlap, not both");
    const io::Extent overlap = pair("overlap");
    options_.stride.height -= overlap.height;
    options_.stride.width -= overlap.width;
    if (options_.stride.height < 1 || options_.stride.width < 1) {
      throw ConfigError(fmt::format("overlap: {}x{} leaves nothing of windows of {}x{}",
                                    overlap.height, overlap.width, options_.size.height,
                                    options_.size.width));
    }
  }
  if (p.has("windows")) windows_ = p.strings("windows");
  if (p.has("points")) points_ = p.strings("points");
  options_.by_neighbourhood = order_ == ItemOrder::grouped;
  options_.stratify = p.boolean("stratify");
  if (p.has("classes")) {
    if (!options_.stratify) throw ConfigError("classes: has no meaning without stratify: true");
    for (const double value : p.numbers("classes")) {
      if (value != std::floor(value) || value > 1e9) {
        throw ConfigError(fmt::format("classes: expected integers, found {}", value));
      }
      options_.classes.push_back(static_cast<std::int32_t>(value));
    }
  }
  options_.holdout = p.number("holdout");
  options_.holdout_by_area = p.string("holdout_by") == "area";
}

std::vector<ListedWindow> ImageSetStage::listed_windows() const {
  if (!windows_.empty()) return list_windows(windows_, *source_);
  if (!points_.empty()) return list_points(points_, options_.size, *source_);
  return {};
}

StreamInfo ImageSetStage::prepare() {
  const FileSet files{.list = [this](const std::vector<std::string>& lost) { return groups(lost); },
                      .open =
                          [this](const std::vector<std::string>& without) {
                            source_ = open(without);
                            without_ = without;
                          },
                      .open_alone = [this](const FileGroup& group) { open_alone(group); }};
  unreadable_ = open_readable(files, lost_, read_errors_);
  std::vector<SampledImage> images;
  images.reserve(static_cast<std::size_t>(source_->size()));
  for (std::int64_t i = 0; i < source_->size(); ++i) {
    images.push_back({source_->extent(i), source_->provenance(i).label});
  }
  sampling_.emplace(options_, std::move(images), listed_windows(), seed_, node());
  StreamInfo info;
  info.channels = source_->channels();
  // Windows lie at different latitudes.
  if (options_.sampling == Sampling::whole) info.grid = source_->grid();
  info.extent = sampling_->extent(Split::train, 0);
  info.extents_agree = sampling_->extents_agree();
  return info;
}

void ImageSetStage::keep(const ChannelNames& own) {
  const std::vector<std::int64_t> kept = positions_of(own.channels, source_->channels());
  // Ranks with different channels of a sample must come to the same judgement.
  if (min_valid_ > 0 && (kept.empty() || kept.front() != 0)) {
    constexpr std::array<std::int64_t, 1> first = {0};
    judge_ = open(without_);
    judge_->keep_channels(first);
  }
  source_->keep_channels(kept);
}

std::int64_t ImageSetStage::bytes_decoded() const {
  return source_->bytes_decoded() + (judge_ != nullptr ? judge_->bytes_decoded() : 0);
}

std::int64_t ImageSetStage::cache_bytes() const {
  return source_->cache_bytes() + (judge_ != nullptr ? judge_->cache_bytes() : 0);
}

void ImageSetStage::limit_cache(std::int64_t bytes) {
  if (judge_ != nullptr) judge_->limit_cache(bytes /= 2);
  source_->limit_cache(bytes);
}

std::int64_t ImageSetStage::group(Split split, std::int64_t item) const {
  const auto place = sampling_->fixed_place(split, item);
  if (!place) return item;
  // Numbers of groups and neighbourhoods put together; what is put into one by chance does no harm.
  constexpr std::int64_t kSpread = 1'000'003;
  return source_->group(place->image) * kSpread + sampling_->neighbourhood(split, item);
}

Sample ImageSetStage::read_place(const WindowSampling::Place& place,
                                 const ReadTarget& target) const {
  const io::Extent extent = place.window ? io::Extent{place.window->height, place.window->width}
                                         : source_->extent(place.image);
  Sample sample;
  sample.x_cyx =
      image_memory(target.x_cyx, {std::ssize(source_->channels()), extent.height, extent.width});
  sample.provenance = source_->read_into(place.image, place.window,
                                         {sample.x_cyx.data<float>(), target.channel_maps()});
  return sample;
}

double ImageSetStage::valid_fraction(const WindowSampling::Place& place,
                                     const Sample& sample) const {
  const Tensor pixels =
      judge_ != nullptr ? judge_->read(place.image, place.window).data_cyx : sample.x_cyx;
  const std::int64_t count = pixels.dim(1) * pixels.dim(2);
  std::int64_t valid = 0;
  for (std::int64_t i = 0; i < count; ++i) valid += std::isnan(pixels.data<float>()[i]) ? 0 : 1;
  return static_cast<double>(valid) / static_cast<double>(count);
}

std::optional<Sample> ImageSetStage::first_pleasing(Split split, const SampleRequest& request,
                                                    const ReadTarget& target, bool by_class) const {
  const std::uint64_t draws = min_valid_ > 0 || by_class ? sampling_->draws() : 1;
  for (std::uint64_t draw = 0; draw < draws; ++draw) {
    const WindowSampling::Place place = sampling_->place(split, request, draw);
    if (by_class && source_->label(place.image, place.window) != *place.wanted_class) continue;
    Sample sample = read_place(place, target);
    if (place.label >= 0 && options_.classes.empty()) sample.provenance.label = place.label;
    if (min_valid_ == 0 || valid_fraction(place, sample) >= min_valid_) return sample;
  }
  return {};
}

Sample ImageSetStage::read(Split split, const SampleRequest& request,
                           const ReadTarget& target) const {
  if (!options_.classes.empty()) {
    // An image need not have all the classes.
    if (auto sample = first_pleasing(split, request, target, true)) return std::move(*sample);
  }
  if (auto sample = first_pleasing(split, request, target, false)) return std::move(*sample);
  const WindowSampling::Place place = sampling_->place(split, request);
  throw NoSample(fmt::format(
      "{}: {} has less than {} of its pixels valid", source_->provenance(place.image).file,
      sampling_->draws() > 1 ? "each of 16 random windows" : "the sample", min_valid_));
}

std::string ImageSetStage::describe(Split split, std::int64_t item) const {
  const auto place = sampling_->fixed_place(split, item);
  if (!place) return fmt::format("sample {} of the classes in turn", item);
  const io::Provenance provenance = source_->provenance(place->image);
  if (options_.sampling == Sampling::random) {
    return fmt::format("{}, random window {}", provenance.file, item % options_.per_image);
  }
  const io::Window& area = provenance.window;
  const io::Window inside = place->window.value_or(io::Window{0, 0, area.height, area.width});
  return fmt::format("{}, rows {}..{}, columns {}..{}", provenance.file, area.y + inside.y,
                     area.y + inside.y + inside.height - 1, area.x + inside.x,
                     area.x + inside.x + inside.width - 1);
}

}  // namespace trib::pipeline
