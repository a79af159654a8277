// Changes of the values of one channel in place. Missing values (NaN) stay missing and count
// nowhere.
//
// The formulas are those of torchvision's and Pillow's operations of these names, on numbers
// without bounds: a ToneRange says which values stand for black and white, and nothing is clipped.
#pragma once

#include <cstdint>

#include "ops/base/random.h"

namespace trib::ops {

/// The values that count as black and white.
struct ToneRange {
  float black = 0, white = 1;
};

/// black + factor * (v - black).
void brighten(float* plane, std::int64_t pixels, const ToneRange& range, float factor);

/// mean + factor * (v - mean), with the mean of the channel.
void change_contrast(float* plane, std::int64_t pixels, float factor);

/// smooth + factor * (v - smooth), with a mean over 3x3 pixels in which the middle one counts five
/// times. Below 1 it blurs, above it sharpens. Border pixels stay as they are.
void sharpen(float* plane, std::int64_t height, std::int64_t width, float factor);

/// Round down to 2^bits steps from black to white.
void posterize(float* plane, std::int64_t pixels, const ToneRange& range, int bits);

/// Mirror values at and above `threshold` (0: black, 1: white): black becomes white.
void solarize(float* plane, std::int64_t pixels, const ToneRange& range, float threshold);

/// Stretch the channel linearly from black to white; a constant one stays as it is.
void stretch_contrast(float* plane, std::int64_t pixels, const ToneRange& range);

/// Spread the values evenly from black to white, by a histogram of 256 steps; values outside count
/// as black or white. A channel of one step stays as it is.
void equalize(float* plane, std::int64_t pixels, const ToneRange& range);

/// Add normal numbers times `deviation`.
void add_noise(float* plane, std::int64_t pixels, const RandomStream& random, float deviation);

}  // namespace trib::ops
