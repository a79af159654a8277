#include "pipeline/stages/window_sampling.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::pipeline {
namespace {

constexpr std::uint64_t kRandomDraws = 16;

// Side of a neighbourhood in windows: windows in it share most of the blocks they are stored in,
// and these fit the caches of readers.
constexpr std::int64_t kNeighbourhood = 8;

bool fits(const io::Extent& size, const io::Window& region) {
  return size.height <= region.height && size.width <= region.width;
}

bool lies_in(const io::Window& w, const io::Window& region) {
  return w.y >= region.y && w.x >= region.x && w.y + w.height <= region.y + region.height &&
         w.x + w.width <= region.x + region.width;
}

std::int64_t remainder(std::int64_t value, std::size_t count) {
  return value % static_cast<std::int64_t>(count);
}

}  // namespace

WindowSampling::WindowSampling(const WindowSamplingOptions& options,
                               std::vector<SampledImage> images, std::vector<ListedWindow> listed,
                               std::uint64_t seed, const std::string& node)
    : options_(options),
      images_(std::move(images)),
      listed_(std::move(listed)),
      random_(seed, "windows." + node),
      seed_(seed),
      node_(node) {
  if (options_.holdout_by_area && options_.holdout > 0 && options_.sampling == Sampling::whole) {
    throw ConfigError("holdout_by: area cuts images in two; choose windows with 'sampling'");
  }
  if (!options_.classes.empty() && options_.sampling != Sampling::random) {
    throw ConfigError("classes: only random windows can be drawn by the labels inside of images");
  }
  split_images();
  const bool same = options_.holdout == 0;
  for (const Split split : {Split::train, Split::eval}) {
    Part& part = parts_[split == Split::train ? 0 : 1];
    if (split == Split::eval && same) {
      part = parts_[0];
      break;
    }
    count_windows(split, part);
    if (options_.stratify && options_.classes.empty()) {
      sort_by_class(part, random_.substream(split == Split::train ? 2 : 3));
    }
  }
  check_extents();
}

void WindowSampling::split_images() {
  const bool by_image = options_.holdout > 0 && !options_.holdout_by_area;
  const std::int64_t count = std::ssize(images_);
  std::vector<std::int64_t> order(images_.size());
  std::iota(order.begin(), order.end(), 0);
  if (by_image) order = RandomStream(seed_, "holdout." + node_).permutation(count);
  const auto held_out = static_cast<std::ptrdiff_t>(
      by_image ? std::ceil(options_.holdout * static_cast<double>(count)) : 0.0);
  std::vector<std::int64_t> train(order.begin() + held_out, order.end());
  std::vector<std::int64_t> eval(order.begin(), order.begin() + held_out);
  if (!by_image) eval = train;
  std::sort(train.begin(), train.end());
  std::sort(eval.begin(), eval.end());
  if (train.empty()) {
    throw ConfigError(
        fmt::format("holdout {} keeps all {} images for evaluation", options_.holdout, count));
  }
  parts_[0].images = std::move(train);
  parts_[1].images = std::move(eval);
}

void WindowSampling::count_windows(Split split, Part& part) {
  const auto too_small = [&](std::int64_t image) {
    return !fits(options_.size, region(split, images_[static_cast<std::size_t>(image)].extent));
  };
  const io::Extent first = images_[static_cast<std::size_t>(part.images.front())].extent;
  switch (options_.sampling) {
    case Sampling::whole:
      part.count = std::ssize(part.images);
      return;
    case Sampling::grid:
    case Sampling::random: {
      std::erase_if(part.images, too_small);
      if (part.images.empty()) {
        throw ConfigError(fmt::format(
            "windows of {}x{} do not fit into an image of {}x{}{}, nor into any other",
            options_.size.height, options_.size.width, first.height, first.width,
            options_.holdout_by_area && options_.holdout > 0 ? " of which a strip is held out"
                                                             : ""));
      }
      if (options_.sampling == Sampling::random) {
        part.count = std::ssize(part.images) * options_.per_image;
        return;
      }
      part.first.assign(1, 0);
      for (const std::int64_t image : part.images) {
        const io::Extent places =
            grid(region(split, images_[static_cast<std::size_t>(image)].extent));
        part.first.push_back(part.first.back() + places.height * places.width);
      }
      part.count = part.first.back();
      return;
    }
    case Sampling::listed: {
      std::vector<std::int64_t> numbers;
      for (std::int64_t i = 0; i < std::ssize(listed_); ++i) {
        const ListedWindow& one = listed_[static_cast<std::size_t>(i)];
        const io::Extent& extent = images_[static_cast<std::size_t>(one.image)].extent;
        if (std::binary_search(part.images.begin(), part.images.end(), one.image) &&
            lies_in(one.window, region(split, extent))) {
          numbers.push_back(i);
        }
      }
      if (numbers.empty()) {
        throw ConfigError(fmt::format("none of the {} windows listed is left for {}",
                                      listed_.size(),
                                      split == Split::train ? "training" : "evaluation"));
      }
      part.count = std::ssize(numbers);
      part.images = std::move(numbers);
      return;
    }
  }
}

void WindowSampling::sort_by_class(Part& part, const RandomStream& random) const {
  std::map<std::int32_t, std::vector<std::int64_t>> by_class;
  const Split split = &part == &parts_[0] ? Split::train : Split::eval;
  for (std::int64_t number = 0; number < part.count; ++number) {
    const Place place = at(split, number);
    if (place.label < 0) {
      throw ConfigError(
          "stratify: the images have no labels to meet equally often; say where they come from");
    }
    by_class[place.label].push_back(number);
  }
  for (const auto& [label, numbers] : by_class) {
    std::vector<std::int64_t> permuted;
    permuted.reserve(numbers.size());
    const RandomStream stream = random.substream(static_cast<std::uint64_t>(label));
    for (const std::int64_t i : stream.permutation(std::ssize(numbers))) {
      permuted.push_back(numbers[static_cast<std::size_t>(i)]);
    }
    part.by_class.push_back(std::move(permuted));
  }
  const std::int64_t classes = std::ssize(part.by_class);
  part.per_class = (part.count + classes - 1) / classes;
}

void WindowSampling::check_extents() {
  const io::Extent first = extent(Split::train, 0);
  for (const Split split : {Split::train, Split::eval}) {
    for (std::int64_t n = 0; n < part(split).count && extents_agree_; ++n) {
      if (options_.sampling == Sampling::grid || options_.sampling == Sampling::random) break;
      const Place place = at(split, n);
      const io::Extent own = place.window ? io::Extent{place.window->height, place.window->width}
                                          : images_[static_cast<std::size_t>(place.image)].extent;
      extents_agree_ = own == first;
      if (!extents_agree_ && options_.stratify) {
        throw ConfigError(fmt::format("stratify: needs samples of one size, found {}x{} and {}x{}",
                                      first.height, first.width, own.height, own.width));
      }
    }
  }
}

io::Window WindowSampling::region(Split split, const io::Extent& extent) const {
  if (options_.holdout == 0 || !options_.holdout_by_area) {
    return {0, 0, extent.height, extent.width};
  }
  const bool by_columns = extent.width >= extent.height;
  const std::int64_t length = by_columns ? extent.width : extent.height;
  const std::int64_t window = by_columns ? options_.size.width : options_.size.height;
  const std::int64_t strip = std::max<std::int64_t>(
      {1, window,
       static_cast<std::int64_t>(std::llround(options_.holdout * static_cast<double>(length)))});
  const std::int64_t begin = split == Split::train ? 0 : std::max<std::int64_t>(length - strip, 0);
  const std::int64_t size =
      split == Split::train ? std::max<std::int64_t>(length - strip, 0) : length - begin;
  return by_columns ? io::Window{0, begin, extent.height, size}
                    : io::Window{begin, 0, size, extent.width};
}

io::Extent WindowSampling::grid(const io::Window& region) const {
  return {(region.height - options_.size.height) / options_.stride.height + 1,
          (region.width - options_.size.width) / options_.stride.width + 1};
}

io::Extent WindowSampling::neighbourhoods(const io::Window& region) const {
  if (!options_.by_neighbourhood || options_.stratify) return {1, 1};
  const auto count = [](std::int64_t length, std::int64_t window) {
    return (length - window) / (kNeighbourhood * window) + 1;
  };
  const io::Extent all{count(region.height, options_.size.height),
                       count(region.width, options_.size.width)};
  return options_.per_image < 2 * all.height * all.width ? io::Extent{1, 1} : all;
}

std::int64_t WindowSampling::neighbourhood(Split split, std::int64_t item) const {
  if (!part(split).by_class.empty()) return 0;
  const Place place = at(split, item);
  if (options_.sampling == Sampling::random) {
    const io::Extent all =
        neighbourhoods(region(split, images_[static_cast<std::size_t>(place.image)].extent));
    return item % options_.per_image % (all.height * all.width);
  }
  if (!place.window) return 0;
  constexpr std::int64_t kMostColumns = std::int64_t{1} << 20;
  const io::Window& w = *place.window;
  return w.y / (kNeighbourhood * w.height) * kMostColumns + w.x / (kNeighbourhood * w.width);
}

WindowSampling::Place WindowSampling::at(Split split, std::int64_t number) const {
  const Part& own = part(split);
  Place place;
  const auto take_image = [&](std::int64_t n) -> const SampledImage& {
    place.image = own.images[static_cast<std::size_t>(n)];
    const SampledImage& image = images_[static_cast<std::size_t>(place.image)];
    place.label = image.label;
    return image;
  };
  switch (options_.sampling) {
    case Sampling::whole:
      take_image(number);
      break;
    case Sampling::random:
      take_image(number / options_.per_image);
      break;
    case Sampling::grid: {
      const auto after = std::upper_bound(own.first.begin(), own.first.end(), number);
      const io::Window inside = region(split, take_image(after - own.first.begin() - 1).extent);
      const std::int64_t cell = number - *(after - 1);
      const std::int64_t columns = grid(inside).width;
      place.window = {inside.y + cell / columns * options_.stride.height,
                      inside.x + cell % columns * options_.stride.width, options_.size.height,
                      options_.size.width};
      break;
    }
    case Sampling::listed: {
      const auto listed = static_cast<std::size_t>(own.images[static_cast<std::size_t>(number)]);
      const ListedWindow& one = listed_[listed];
      place.image = one.image;
      place.window = one.window;
      place.label = one.label >= 0 ? one.label : images_[static_cast<std::size_t>(one.image)].label;
      break;
    }
  }
  return place;
}

std::int64_t WindowSampling::number_of(Split split, std::int64_t item, std::int64_t epoch) const {
  const Part& own = part(split);
  if (own.by_class.empty()) return item;
  const auto classes = own.by_class.size();
  const auto& numbers = own.by_class[static_cast<std::size_t>(remainder(item, classes))];
  // Each epoch goes on in the class where the one before it stopped.
  const std::int64_t turn = item / std::ssize(own.by_class) + epoch * own.per_class;
  return numbers[static_cast<std::size_t>(remainder(turn, numbers.size()))];
}

std::int64_t WindowSampling::items(Split split) const {
  const Part& own = part(split);
  return own.by_class.empty() ? own.count : own.per_class * std::ssize(own.by_class);
}

io::Extent WindowSampling::extent(Split split, std::int64_t item) const {
  if (options_.sampling == Sampling::grid || options_.sampling == Sampling::random) {
    return options_.size;
  }
  const Place place = at(split, number_of(split, item, 0));
  if (place.window) return {place.window->height, place.window->width};
  return images_[static_cast<std::size_t>(place.image)].extent;
}

std::uint64_t WindowSampling::draws() const {
  return options_.sampling == Sampling::random ? kRandomDraws : 1;
}

WindowSampling::Place WindowSampling::place(Split split, const SampleRequest& request,
                                            std::uint64_t draw) const {
  Place place = at(split, number_of(split, request.item, request.epoch));
  if (options_.sampling != Sampling::random) return place;
  const RandomStream stream = random_.substream(split == Split::train ? 0 : 1)
                                  .substream(static_cast<std::uint64_t>(request.epoch))
                                  .substream(static_cast<std::uint64_t>(request.source))
                                  .substream(static_cast<std::uint64_t>(request.item))
                                  .substream(static_cast<std::uint64_t>(request.piece));
  const io::Window inside = region(split, images_[static_cast<std::size_t>(place.image)].extent);
  // Among the places of one of so many parts that are about equal.
  const auto among = [&](std::uint64_t index, std::int64_t places, std::int64_t own,
                         std::int64_t parts) {
    const std::int64_t begin = own * places / parts, end = (own + 1) * places / parts;
    return begin + static_cast<std::int64_t>(
                       stream.below(2 * draw + index, static_cast<std::uint64_t>(end - begin)));
  };
  const io::Extent parts = neighbourhoods(inside);
  const std::int64_t own = parts.height * parts.width == 1 ? 0 : neighbourhood(split, request.item);
  place.window = {
      inside.y +
          among(0, inside.height - options_.size.height + 1, own / parts.width, parts.height),
      inside.x + among(1, inside.width - options_.size.width + 1, own % parts.width, parts.width),
      options_.size.height, options_.size.width};
  if (options_.stratify && !options_.classes.empty()) {
    // All classes in turn among the windows of an image, and over the epochs.
    const std::int64_t turn = request.item / options_.per_image + request.item + request.epoch;
    place.wanted_class =
        options_.classes[static_cast<std::size_t>(remainder(turn, options_.classes.size()))];
  }
  return place;
}

std::optional<WindowSampling::Place> WindowSampling::fixed_place(Split split,
                                                                 std::int64_t item) const {
  if (!part(split).by_class.empty()) return {};
  return at(split, item);
}

}  // namespace trib::pipeline
