#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/base/error.h"
#include "ops/base/random.h"
#include "ops/image/orientation.h"
#include "ops/image/resize.h"
#include "ops/image/tone.h"
#include "ops/image/warp.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/sample_random.h"

namespace trib::pipeline {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

// What rand_augment draws from. The first ones move pixels.
enum class Operation : std::uint8_t {
  shear_x,
  shear_y,
  translate_x,
  translate_y,
  rotate,
  identity,
  brightness,
  contrast,
  sharpness,
  posterize,
  solarize,
  autocontrast,
  equalize,
};
constexpr std::array<std::string_view, 13> kOperationNames{
    "shear_x",  "shear_y",   "translate_x", "translate_y", "rotate",       "identity", "brightness",
    "contrast", "sharpness", "posterize",   "solarize",    "autocontrast", "equalize"};

bool moves_pixels(Operation operation) {
  return operation <= Operation::rotate;
}

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "augment";
  d.summary = "Change training samples at random: where their pixels lie, and their values.";
  d.parameters = {
      param::strings(
          "flip",
          "Mirror at random: horizontal (left to right), vertical (upside down), or true "
          "for both."),
      param::boolean("turn", "Turn at random by quarters; images that are not square by halves.")
          .or_else(false),
      param::boolean("roll",
                     "Shift fields around the globe at random by whole columns, for grids that go "
                     "all the way round.")
          .or_else(false),
      param::size("resized_crop",
                  "Cut a rectangle out at random and resize it to this size; held-out images are "
                  "cut in their middle.")
          .unit_is("pixels")
          .at_least(1),
      param::numbers("crop_scale", "Least and largest share of the image that is cut out.")
          .above(0)
          .at_most(1)
          .or_else("[0.2, 1]"),
      param::numbers("crop_ratio", "Least and largest ratio of its width to its height.")
          .above(0)
          .or_else("[0.75, 1.3333333333333333]"),
      param::choice("resample", {"bilinear", "bicubic"}, "How it is resized.").or_else("bilinear"),
      param::integer("rand_augment", "Operations drawn for each sample; 0 for none.")
          .at_least(0)
          .or_else(0),
      param::number("magnitude", "How strong they are.").between(0, 30).or_else(9),
      param::strings("operations", fmt::format("Those to draw from, all if left out: {}.",
                                               fmt::join(kOperationNames, ", "))),
      param::numbers("range",
                     "Values that stand for black and white in the operations; the default is two "
                     "standard deviations to either side of the mean, once normalised.")
          .or_else("[-2, 2]"),
      param::number("noise", "Standard deviation of normal noise that is added to the values.")
          .at_least(0)
          .or_else(0.0),
      param::number("channel_dropout", "Chance of each channel to be filled.")
          .between(0, 1)
          .or_else(0.0),
      param::integer("cutout", "Rectangles that are filled; 0 for none.").at_least(0).or_else(0),
      param::size("cutout_size", "Their height and width; they are cut off at the border.")
          .unit_is("pixels")
          .at_least(1)
          .or_else("[16, 16]"),
      param::choice("fill", {"missing", "zero"},
                    "What to fill with, also where pixels would come from outside the image.")
          .or_else("missing"),
  };
  return d;
}

/// Random numbers in the order they are asked for.
class Draws {
 public:
  explicit Draws(const RandomStream& random) : random_(random) {}
  double uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(random_.uniform(index_++));
  }
  std::int64_t below(std::int64_t bound) {
    return static_cast<std::int64_t>(random_.below(index_++, static_cast<std::uint64_t>(bound)));
  }
  bool coin() { return below(2) == 1; }

 private:
  RandomStream random_;
  std::uint64_t index_ = 0;
};

struct Bounds {
  double low = 0, high = 0;
};

Bounds bounds_of(const ParameterValues& parameters, const std::string& name) {
  const std::vector<double>& values = parameters.numbers(name);
  if (values.size() == 2 && values[0] <= values[1]) return {values[0], values[1]};
  throw ConfigError(
      fmt::format("{}: expected two ascending numbers, found {}", name, fmt::join(values, ", ")));
}

/// What is random is drawn from the identity of the sample alone, never from its pixels, so that
/// ranks that hold other channels of it draw the same.
class Augment : public TransformStage {
 public:
  explicit Augment(const StageContext& context)
      : TransformStage(context), random_(context.seed, "augment." + context.node) {
    const ParameterValues& p = context.parameters;
    if (p.has("flip")) read_flip(p.strings("flip"));
    turn_ = p.boolean("turn");
    roll_ = p.boolean("roll");
    if (p.has("resized_crop")) size_ = {p.size("resized_crop")[0], p.size("resized_crop")[1]};
    crop_scale_ = bounds_of(p, "crop_scale");
    crop_ratio_ = bounds_of(p, "crop_ratio");
    filter_ = p.string("resample") == "bicubic" ? ops::ResizeFilter::bicubic
                                                : ops::ResizeFilter::bilinear;
    num_operations_ = p.integer("rand_augment");
    magnitude_ = p.number("magnitude");
    read_operations(p.has("operations") ? p.strings("operations") : std::vector<std::string>());
    const Bounds range = bounds_of(p, "range");
    if (range.low == range.high) throw ConfigError("range: black and white are the same");
    range_ = {static_cast<float>(range.low), static_cast<float>(range.high)};
    range_given_ = p.was_given("range");
    noise_ = p.number("noise");
    channel_dropout_ = p.number("channel_dropout");
    num_cutouts_ = p.integer("cutout");
    cutout_ = {p.size("cutout_size")[0], p.size("cutout_size")[1]};
    fill_ = p.string("fill") == "zero" ? 0.0F : kMissing;
  }

  StreamInfo prepare(const StreamInfo& input) override {
    if (input.grid != nullptr) refuse_on_grid();
    if (roll_) check_roll(input.grid.get());
    const bool is_normalised = input.statistics != nullptr;
    if (fill_ == 0 && !is_normalised) {
      throw ConfigError(
          "fill: zero stands for the mean of values that a 'normalize' has passed; "
          "put one before, or fill with 'missing'");
    }
    const bool changes_tones = std::any_of(operations_.begin(), operations_.end(), [](auto o) {
      return o == Operation::brightness || o > Operation::sharpness;
    });
    if (num_operations_ > 0 && changes_tones && !is_normalised && !range_given_) {
      throw ConfigError(
          "range: say which values stand for black and white, or put a 'normalize' "
          "before");
    }
    channels_ = input.channels;
    own_.resize(channels_.size());
    std::iota(own_.begin(), own_.end(), 0);
    StreamInfo info = input;
    if (crops()) {
      info.extent = size_;
      info.extents_agree = true;
    }
    if (roll_) {
      // What is at a column differs from sample to sample.
      io::LatLonGrid grid = *input.grid;
      std::fill(grid.longitudes.begin(), grid.longitudes.end(), io::kUnknown);
      info.grid = std::make_shared<io::LatLonGrid>(std::move(grid));
    }
    return info;
  }

  void keep(const ChannelNames& own) override { own_ = positions_of(own.channels, channels_); }

  io::Extent output_extent(const io::Extent& input) const override {
    return crops() ? size_ : input;
  }

  void apply(Sample input, Split split, std::span<const SampleRequest> requests,
             std::vector<Sample>& output) const override {
    if (split == Split::train) {
      augment(input, sample_random(random_, split, requests.front()));
    } else if (crops() && !(extent_of(input) == size_)) {
      cut(input, middle_box(extent_of(input), size_));
    }
    output.push_back(std::move(input));
  }

 private:
  // Each operation has a substream of its own: switching one on does not change the others.
  enum Purpose : std::uint64_t {
    kCrop,
    kFlip,
    kTurn,
    kRoll,
    kRandAugment,
    kNoise,
    kDropout,
    kCutout
  };

  // --- parameters --------------------------------------------------------------------------------

  void read_flip(const std::vector<std::string>& words) {
    for (const std::string& word : words) {
      if (word != "horizontal" && word != "vertical" && word != "true" && word != "false") {
        throw ConfigError(
            fmt::format("flip: expected horizontal, vertical or true, found '{}'", word));
      }
      flip_x_ = flip_x_ || word == "horizontal" || word == "true";
      flip_y_ = flip_y_ || word == "vertical" || word == "true";
    }
  }

  void read_operations(const std::vector<std::string>& names) {
    for (std::size_t i = 0; i < kOperationNames.size(); ++i) {
      const bool is_wanted =
          std::find(names.begin(), names.end(), kOperationNames[i]) != names.end();
      if (names.empty() || is_wanted) operations_.push_back(static_cast<Operation>(i));
    }
    for (const std::string& name : names) {
      if (std::find(kOperationNames.begin(), kOperationNames.end(), name) !=
          kOperationNames.end()) {
        continue;
      }
      throw ConfigError(fmt::format("operations: there is no '{}'; there are {}", name,
                                    fmt::join(kOperationNames, ", ")));
    }
  }

  void refuse_on_grid() const {
    const char* what = nullptr;
    if (flip_x_ || flip_y_) what = "flip";
    if (turn_) what = "turn";
    if (crops()) what = "resized_crop";
    if (num_operations_ > 0 && moves_pixels(operations_.front())) what = "rand_augment";
    if (what == nullptr) return;
    throw ConfigError(fmt::format(
        "{}: fields on a latitude-longitude grid cannot be mirrored, turned, cut or moved{}", what,
        std::string_view(what) == "rand_augment" ? "; leave such 'operations' out" : ""));
  }

  static void check_roll(const io::LatLonGrid* grid) {
    if (grid == nullptr) {
      throw ConfigError("roll: needs fields on a latitude-longitude grid, which its input is not");
    }
    const std::vector<double>& longitudes = grid->longitudes;
    const auto count = static_cast<double>(longitudes.size());
    const double step = (longitudes.back() - longitudes.front()) / std::max(count - 1, 1.0);
    if (std::abs(step * count - 360) < 0.01 * step) return;
    throw ConfigError(fmt::format(
        "roll: needs fields all around the globe; {} columns from {} to {} degrees are not",
        longitudes.size(), longitudes.front(), longitudes.back()));
  }

  bool crops() const { return size_.height > 0; }

  // --- one sample --------------------------------------------------------------------------------

  static io::Extent extent_of(const Sample& sample) {
    return {sample.x_cyx.dim(1), sample.x_cyx.dim(2)};
  }

  // Move the pixels of the image and of its target alike.
  template <class Move>
  static void move_pixels(Sample& sample, Move&& move) {
    sample.x_cyx = move(sample.x_cyx, true);
    if (sample.target_vyx.defined()) sample.target_vyx = move(sample.target_vyx, false);
    sample.provenance.geo = nullptr;  // no longer says where a pixel lies
  }

  void augment(Sample& sample, const RandomStream& random) const {
    if (crops()) cut(sample, random_box(extent_of(sample), Draws(random.substream(kCrop))));
    const ops::Orientation orientation = random_orientation(extent_of(sample), random);
    if (!orientation.is_identity()) {
      move_pixels(sample, [&](const Tensor& image, bool) { return oriented(image, orientation); });
    }
    if (roll_) {
      const std::int64_t shift = Draws(random.substream(kRoll)).below(extent_of(sample).width);
      move_pixels(sample, [&](const Tensor& image, bool) { return ops::rolled(image, shift); });
    }
    if (num_operations_ > 0) rand_augment(sample, Draws(random.substream(kRandAugment)));
    change_values(sample, random);
  }

  // The box that torchvision's RandomResizedCrop takes.
  ops::PixelBox random_box(const io::Extent& extent, Draws draws) const {
    const auto area = static_cast<double>(extent.height * extent.width);
    constexpr int kAttempts = 10;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      const double target = area * draws.uniform(crop_scale_.low, crop_scale_.high);
      const double ratio =
          std::exp(draws.uniform(std::log(crop_ratio_.low), std::log(crop_ratio_.high)));
      const auto width = static_cast<std::int64_t>(std::llround(std::sqrt(target * ratio)));
      const auto height = static_cast<std::int64_t>(std::llround(std::sqrt(target / ratio)));
      if (width < 1 || width > extent.width || height < 1 || height > extent.height) continue;
      const std::int64_t y = draws.below(extent.height - height + 1);
      return {y, draws.below(extent.width - width + 1), height, width};
    }
    const double ratio = static_cast<double>(extent.width) / static_cast<double>(extent.height);
    return middle_box(extent, std::clamp(ratio, crop_ratio_.low, crop_ratio_.high));
  }

  // The largest box of this ratio of width to height, in the middle.
  static ops::PixelBox middle_box(const io::Extent& extent, double ratio) {
    const auto rounded = [](double value, std::int64_t most) {
      return std::clamp<std::int64_t>(std::llround(value), 1, most);
    };
    const std::int64_t width = rounded(static_cast<double>(extent.height) * ratio, extent.width);
    const std::int64_t height = rounded(static_cast<double>(extent.width) / ratio, extent.height);
    return {(extent.height - height) / 2, (extent.width - width) / 2, height, width};
  }
  static ops::PixelBox middle_box(const io::Extent& extent, const io::Extent& shape) {
    return middle_box(extent, static_cast<double>(shape.width) / static_cast<double>(shape.height));
  }

  void cut(Sample& sample, const ops::PixelBox& box) const {
    move_pixels(sample, [&](const Tensor& image, bool) {
      return resized(image, box, size_.height, size_.width, filter_);
    });
    io::Window& window = sample.provenance.window;
    window = {window.y + box.y, window.x + box.x, box.height, box.width};
  }

  ops::Orientation random_orientation(const io::Extent& extent, const RandomStream& random) const {
    ops::Orientation orientation;
    Draws flips(random.substream(kFlip));
    const bool y = flips.coin(), x = flips.coin();
    orientation = orientation.flipped(flip_y_ && y, flip_x_ && x);
    if (!turn_) return orientation;
    const bool is_square = extent.height == extent.width;
    Draws turns(random.substream(kTurn));
    return orientation.turned(static_cast<int>(is_square ? turns.below(4) : 2 * turns.below(2)));
  }

  // --- RandAugment -------------------------------------------------------------------------------

  void rand_augment(Sample& sample, Draws draws) const {
    ops::AffineMap map;  // of the moves that are drawn one after another
    const auto move = [&] {
      if (map.is_identity()) return;
      // No target is known where there is no image.
      move_pixels(sample, [&](const Tensor& image, bool is_input) {
        return warped(image, map, is_input ? fill_ : kMissing);
      });
      map = {};
    };
    for (std::int64_t i = 0; i < num_operations_; ++i) {
      const Operation operation =
          operations_[static_cast<std::size_t>(draws.below(std::ssize(operations_)))];
      const double sign = draws.coin() ? 1 : -1;
      if (moves_pixels(operation)) {
        map = map.then(map_of(operation, sign, extent_of(sample)));
      } else {
        move();
        change_tones(sample, operation, sign);
      }
    }
    move();
  }

  // Strengths are torchvision's at the same magnitude.
  double strength(double most) const { return most * magnitude_ / 30; }

  ops::AffineMap map_of(Operation operation, double sign, const io::Extent& extent) const {
    const auto shift = [&](std::int64_t side) {
      return sign * std::trunc(strength(150.0 / 331 * static_cast<double>(side)));
    };
    switch (operation) {
      case Operation::shear_x:
        return ops::AffineMap::shear(sign * strength(0.3), 0);
      case Operation::shear_y:
        return ops::AffineMap::shear(0, sign * strength(0.3));
      case Operation::translate_x:
        return ops::AffineMap::translation(shift(extent.width), 0);
      case Operation::translate_y:
        return ops::AffineMap::translation(0, shift(extent.height));
      case Operation::rotate:
        return ops::AffineMap::rotation(sign * strength(30));
      default:
        return {};
    }
  }

  void change_tones(Sample& sample, Operation operation, double sign) const {
    const io::Extent extent = extent_of(sample);
    const std::int64_t pixels = extent.height * extent.width;
    const auto factor = static_cast<float>(1 + sign * strength(0.9));
    for_each_plane(sample, [&](float* plane, std::int64_t) {
      switch (operation) {
        case Operation::brightness:
          return ops::brighten(plane, pixels, range_, factor);
        case Operation::contrast:
          return ops::change_contrast(plane, pixels, factor);
        case Operation::sharpness:
          return ops::sharpen(plane, extent.height, extent.width, factor);
        case Operation::posterize:
          return ops::posterize(plane, pixels, range_,
                                8 - static_cast<int>(std::lround(strength(4))));
        case Operation::solarize:
          return ops::solarize(plane, pixels, range_, static_cast<float>(1 - strength(1)));
        case Operation::autocontrast:
          return ops::stretch_contrast(plane, pixels, range_);
        case Operation::equalize:
          return ops::equalize(plane, pixels, range_);
        default:
          return;
      }
    });
  }

  // --- values ------------------------------------------------------------------------------------

  // Call visit(plane, channel) for each channel of the image, which nobody else sees then; channels
  // are counted over all ranks.
  template <class Visit>
  void for_each_plane(Sample& sample, Visit&& visit) const {
    if (!sample.x_cyx.is_unique()) sample.x_cyx = sample.x_cyx.clone(MemoryKind::ingest);
    const std::int64_t pixels = sample.x_cyx.dim(1) * sample.x_cyx.dim(2);
    for (std::size_t c = 0; c < own_.size(); ++c) {
      visit(sample.x_cyx.data<float>() + static_cast<std::int64_t>(c) * pixels, own_[c]);
    }
  }

  void change_values(Sample& sample, const RandomStream& random) const {
    const io::Extent extent = extent_of(sample);
    const std::int64_t pixels = extent.height * extent.width;
    if (noise_ > 0) {
      for_each_plane(sample, [&](float* plane, std::int64_t channel) {
        const auto number = static_cast<std::uint64_t>(channel);
        ops::add_noise(plane, pixels, random.substream(kNoise).substream(number),
                       static_cast<float>(noise_));
      });
    }
    if (channel_dropout_ > 0) {
      const std::vector<bool> dropped = random_dropout(Draws(random.substream(kDropout)));
      for_each_plane(sample, [&](float* plane, std::int64_t channel) {
        if (dropped[static_cast<std::size_t>(channel)]) std::fill_n(plane, pixels, fill_);
      });
    }
    Draws draws(random.substream(kCutout));
    for (std::int64_t i = 0; i < num_cutouts_; ++i) cut_out(sample, extent, draws);
  }

  std::vector<bool> random_dropout(Draws draws) const {
    std::vector<bool> dropped(channels_.size());
    for (std::size_t c = 0; c < dropped.size(); ++c) {
      dropped[c] = draws.uniform(0, 1) < channel_dropout_;
    }
    // Nothing can be learned from nothing.
    const bool all = std::all_of(dropped.begin(), dropped.end(), [](bool d) { return d; });
    return all ? std::vector<bool>(dropped.size(), false) : dropped;
  }

  // The middle lies anywhere in the image, so that borders are filled as often as the rest.
  void cut_out(Sample& sample, const io::Extent& extent, Draws& draws) const {
    const std::int64_t y = draws.below(extent.height) - cutout_.height / 2;
    const std::int64_t x = draws.below(extent.width) - cutout_.width / 2;
    const std::int64_t top = std::max<std::int64_t>(y, 0), left = std::max<std::int64_t>(x, 0);
    const std::int64_t bottom = std::min(y + cutout_.height, extent.height);
    const std::int64_t right = std::min(x + cutout_.width, extent.width);
    for_each_plane(sample, [&](float* plane, std::int64_t) {
      for (std::int64_t row = top; row < bottom; ++row) {
        std::fill(plane + row * extent.width + left, plane + row * extent.width + right, fill_);
      }
    });
  }

  RandomStream random_;
  bool flip_y_ = false, flip_x_ = false, turn_ = false, roll_ = false;
  io::Extent size_;  // of a resized crop; 0 for none
  Bounds crop_scale_, crop_ratio_;
  ops::ResizeFilter filter_ = ops::ResizeFilter::bilinear;
  std::int64_t num_operations_ = 0;
  double magnitude_ = 0;
  std::vector<Operation> operations_;  // in the order of Operation
  ops::ToneRange range_;
  bool range_given_ = false;
  double noise_ = 0, channel_dropout_ = 0;
  std::int64_t num_cutouts_ = 0;
  io::Extent cutout_;
  float fill_ = kMissing;
  std::vector<io::Channel> channels_;
  std::vector<std::int64_t> own_;  // positions of this rank's channels in channels_
};

}  // namespace

void register_augment(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<Augment>(context); });
}

}  // namespace trib::pipeline
