// Random changes of samples: where their pixels lie, and their values.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "io/image_source.h"
#include "ops/base/random.h"
#include "ops/image/resize.h"
#include "ops/image/tone.h"
#include "pipeline/stage/flow.h"

namespace trib::pipeline {

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
inline constexpr std::array<std::string_view, 13> kOperationNames{
    "shear_x",  "shear_y",   "translate_x", "translate_y", "rotate",       "identity", "brightness",
    "contrast", "sharpness", "posterize",   "solarize",    "autocontrast", "equalize"};

inline bool moves_pixels(Operation operation) {
  return operation <= Operation::rotate;
}

struct Bounds {
  double low = 0, high = 0;
};

/// What is changed, and how much.
struct Augmentation {
  bool flip_y = false, flip_x = false, turn = false, roll = false;
  io::Extent size;  // of a resized crop; 0 for none
  Bounds crop_scale, crop_ratio;
  ops::ResizeFilter filter = ops::ResizeFilter::bilinear;
  std::int64_t num_operations = 0;
  double magnitude = 0;
  std::vector<Operation> operations;  // in the order of Operation
  ops::ToneRange range;
  double noise = 0, channel_dropout = 0;
  std::int64_t num_cutouts = 0;
  io::Extent cutout;
  float fill = std::numeric_limits<float>::quiet_NaN();  // NaN: missing
  std::size_t num_channels = 0;                          // of all ranks
  std::vector<std::int64_t> own;  // positions of this rank's channels among them

  bool crops() const { return size.height > 0; }
};

/// Change a sample. What is random is drawn from `random` alone, never from its pixels, so that
/// ranks that hold other channels of it draw the same.
void augment(Sample& sample, const Augmentation& settings, const RandomStream& random);

/// Cut the middle out where samples are cut, unless they have that size already.
void cut_middle(Sample& sample, const Augmentation& settings);

}  // namespace trib::pipeline
