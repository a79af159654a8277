#include "pipeline/stages/augmentation.h"

#include <algorithm>
#include <cmath>

#include "ops/image/orientation.h"
#include "ops/image/warp.h"

namespace trib::pipeline {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

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

class Changer {
 public:
  explicit Changer(const Augmentation& settings) : settings_(settings) {}

  void change(Sample& sample, const RandomStream& random) const {
    if (settings_.crops())
      cut(sample, random_box(extent_of(sample), Draws(random.substream(kCrop))));
    const ops::Orientation orientation = random_orientation(extent_of(sample), random);
    if (!orientation.is_identity()) {
      move_pixels(sample, [&](const Tensor& image, bool) { return oriented(image, orientation); });
    }
    if (settings_.roll) {
      const std::int64_t shift = Draws(random.substream(kRoll)).below(extent_of(sample).width);
      move_pixels(sample, [&](const Tensor& image, bool) { return ops::rolled(image, shift); });
    }
    if (settings_.num_operations > 0) rand_augment(sample, Draws(random.substream(kRandAugment)));
    change_values(sample, random);
  }

  void cut_middle(Sample& sample) const {
    const io::Extent extent = extent_of(sample);
    if (settings_.crops() && !(extent == settings_.size)) {
      cut(sample, middle_box(extent, settings_.size));
    }
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

  // The box that torchvision's RandomResizedCrop takes.
  ops::PixelBox random_box(const io::Extent& extent, Draws draws) const {
    const auto area = static_cast<double>(extent.height * extent.width);
    constexpr int kAttempts = 10;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      const double target =
          area * draws.uniform(settings_.crop_scale.low, settings_.crop_scale.high);
      const double ratio = std::exp(
          draws.uniform(std::log(settings_.crop_ratio.low), std::log(settings_.crop_ratio.high)));
      const auto width = static_cast<std::int64_t>(std::llround(std::sqrt(target * ratio)));
      const auto height = static_cast<std::int64_t>(std::llround(std::sqrt(target / ratio)));
      if (width < 1 || width > extent.width || height < 1 || height > extent.height) continue;
      const std::int64_t y = draws.below(extent.height - height + 1);
      return {y, draws.below(extent.width - width + 1), height, width};
    }
    const double ratio = static_cast<double>(extent.width) / static_cast<double>(extent.height);
    return middle_box(extent,
                      std::clamp(ratio, settings_.crop_ratio.low, settings_.crop_ratio.high));
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
      return resized(image, box, settings_.size.height, settings_.size.width, settings_.filter);
    });
    io::Window& window = sample.provenance.window;
    window = {window.y + box.y, window.x + box.x, box.height, box.width};
  }

  ops::Orientation random_orientation(const io::Extent& extent, const RandomStream& random) const {
    ops::Orientation orientation;
    Draws flips(random.substream(kFlip));
    const bool y = flips.coin(), x = flips.coin();
    orientation = orientation.flipped(settings_.flip_y && y, settings_.flip_x && x);
    if (!settings_.turn) return orientation;
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
        return warped(image, map, is_input ? settings_.fill : kMissing);
      });
      map = {};
    };
    for (std::int64_t i = 0; i < settings_.num_operations; ++i) {
      const Operation operation =
          settings_
              .operations[static_cast<std::size_t>(draws.below(std::ssize(settings_.operations)))];
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
  double strength(double most) const { return most * settings_.magnitude / 30; }

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
          return ops::brighten(plane, pixels, settings_.range, factor);
        case Operation::contrast:
          return ops::change_contrast(plane, pixels, factor);
        case Operation::sharpness:
          return ops::sharpen(plane, extent.height, extent.width, factor);
        case Operation::posterize:
          return ops::posterize(plane, pixels, settings_.range,
                                8 - static_cast<int>(std::lround(strength(4))));
        case Operation::solarize:
          return ops::solarize(plane, pixels, settings_.range, static_cast<float>(1 - strength(1)));
        case Operation::autocontrast:
          return ops::stretch_contrast(plane, pixels, settings_.range);
        case Operation::equalize:
          return ops::equalize(plane, pixels, settings_.range);
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
    for (std::size_t c = 0; c < settings_.own.size(); ++c) {
      visit(sample.x_cyx.data<float>() + static_cast<std::int64_t>(c) * pixels, settings_.own[c]);
    }
  }

  void change_values(Sample& sample, const RandomStream& random) const {
    const io::Extent extent = extent_of(sample);
    const std::int64_t pixels = extent.height * extent.width;
    if (settings_.noise > 0) {
      for_each_plane(sample, [&](float* plane, std::int64_t channel) {
        const auto number = static_cast<std::uint64_t>(channel);
        ops::add_noise(plane, pixels, random.substream(kNoise).substream(number),
                       static_cast<float>(settings_.noise));
      });
    }
    if (settings_.channel_dropout > 0) {
      const std::vector<bool> dropped = random_dropout(Draws(random.substream(kDropout)));
      for_each_plane(sample, [&](float* plane, std::int64_t channel) {
        if (dropped[static_cast<std::size_t>(channel)]) std::fill_n(plane, pixels, settings_.fill);
      });
    }
    Draws draws(random.substream(kCutout));
    for (std::int64_t i = 0; i < settings_.num_cutouts; ++i) cut_out(sample, extent, draws);
  }

  std::vector<bool> random_dropout(Draws draws) const {
    std::vector<bool> dropped(settings_.num_channels);
    for (std::size_t c = 0; c < dropped.size(); ++c) {
      dropped[c] = draws.uniform(0, 1) < settings_.channel_dropout;
    }
    // Nothing can be learned from nothing.
    const bool all = std::all_of(dropped.begin(), dropped.end(), [](bool d) { return d; });
    return all ? std::vector<bool>(dropped.size(), false) : dropped;
  }

  // The middle lies anywhere in the image, so that borders are filled as often as the rest.
  void cut_out(Sample& sample, const io::Extent& extent, Draws& draws) const {
    const std::int64_t y = draws.below(extent.height) - settings_.cutout.height / 2;
    const std::int64_t x = draws.below(extent.width) - settings_.cutout.width / 2;
    const std::int64_t top = std::max<std::int64_t>(y, 0), left = std::max<std::int64_t>(x, 0);
    const std::int64_t bottom = std::min(y + settings_.cutout.height, extent.height);
    const std::int64_t right = std::min(x + settings_.cutout.width, extent.width);
    for_each_plane(sample, [&](float* plane, std::int64_t) {
      for (std::int64_t row = top; row < bottom; ++row) {
        std::fill(plane + row * extent.width + left, plane + row * extent.width + right,
                  settings_.fill);
      }
    });
  }

  const Augmentation& settings_;
};

}  // namespace

void augment(Sample& sample, const Augmentation& settings, const RandomStream& random) {
  Changer(settings).change(sample, random);
}

void cut_middle(Sample& sample, const Augmentation& settings) {
  Changer(settings).cut_middle(sample);
}

}  // namespace trib::pipeline
