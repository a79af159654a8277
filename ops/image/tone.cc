#include "ops/image/tone.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <vector>

#include "ops/image/missing.h"

namespace trib::ops {
namespace {

struct Extremes {
  float min = std::numeric_limits<float>::infinity();
  float max = -std::numeric_limits<float>::infinity();
};

Extremes extremes_of(const float* plane, std::int64_t pixels) {
  Extremes e;
  // Comparisons with missing values are false.
  for (std::int64_t i = 0; i < pixels; ++i) {
    e.min = plane[i] < e.min ? plane[i] : e.min;
    e.max = plane[i] > e.max ? plane[i] : e.max;
  }
  return e;
}

void scale_around(float* plane, std::int64_t pixels, float middle, float factor) {
  for (std::int64_t i = 0; i < pixels; ++i) plane[i] = middle + factor * (plane[i] - middle);
}

}  // namespace

void brighten(float* plane, std::int64_t pixels, const ToneRange& range, float factor) {
  scale_around(plane, pixels, range.black, factor);
}

void change_contrast(float* plane, std::int64_t pixels, float factor) {
  double sum = 0;
  std::int64_t valid = 0;
  for (std::int64_t i = 0; i < pixels; ++i) {
    const bool is_valid = plane[i] == plane[i];
    sum += is_valid ? static_cast<double>(plane[i]) : 0.0;
    valid += is_valid ? 1 : 0;
  }
  if (valid == 0) return;
  scale_around(plane, pixels, static_cast<float>(sum / static_cast<double>(valid)), factor);
}

void sharpen(float* plane, std::int64_t height, std::int64_t width, float factor) {
  constexpr float kMiddle = 5;
  // Each row is needed as it was by the next one.
  std::vector<float> above(plane, plane + width), row(above);
  std::vector<float> filled(static_cast<std::size_t>(width)), valid(filled);
  std::vector<float> values(filled), weights(filled);
  for (std::int64_t y = 1; y + 1 < height; ++y) {
    float* const out = plane + y * width;
    row.assign(out, out + width);
    std::fill(values.begin(), values.end(), 0.0F);
    std::fill(weights.begin(), weights.end(), 0.0F);
    const std::array<const float*, 3> rows{above.data(), row.data(), out + width};
    for (const float* from : rows) {
      split_missing(from, width, filled.data(), valid.data());
      const float middle = from == row.data() ? kMiddle : 1;
      for (std::size_t x = 1; x + 1 < filled.size(); ++x) {
        values[x] += filled[x - 1] + middle * filled[x] + filled[x + 1];
        weights[x] += valid[x - 1] + middle * valid[x] + valid[x + 1];
      }
    }
    for (std::size_t x = 1; x + 1 < row.size(); ++x) {
      // A missing pixel stays so, and one that is there has a weight of at least its own.
      const float smooth = values[x] / std::max(weights[x], 1.0F);
      out[x] = smooth + factor * (row[x] - smooth);
    }
    above.swap(row);
  }
}

void posterize(float* plane, std::int64_t pixels, const ToneRange& range, int bits) {
  const float steps = std::ldexp(1.0F, bits) / (range.white - range.black);
  const float step = 1 / steps;
  for (std::int64_t i = 0; i < pixels; ++i) {
    plane[i] = range.black + step * std::floor((plane[i] - range.black) * steps);
  }
}

void solarize(float* plane, std::int64_t pixels, const ToneRange& range, float threshold) {
  const float from = range.black + threshold * (range.white - range.black);
  const float sum = range.black + range.white;
  for (std::int64_t i = 0; i < pixels; ++i) {
    plane[i] = plane[i] >= from ? sum - plane[i] : plane[i];
  }
}

void stretch_contrast(float* plane, std::int64_t pixels, const ToneRange& range) {
  const Extremes e = extremes_of(plane, pixels);
  if (!(e.max > e.min)) return;
  const float scale = (range.white - range.black) / (e.max - e.min);
  for (std::int64_t i = 0; i < pixels; ++i) {
    plane[i] = range.black + scale * (plane[i] - e.min);
  }
}

void equalize(float* plane, std::int64_t pixels, const ToneRange& range) {
  constexpr int kSteps = 256;
  const float scale = static_cast<float>(kSteps - 1) / (range.white - range.black);
  const auto step_of = [&](float value) {
    const float step = std::round((value - range.black) * scale);
    return static_cast<std::size_t>(std::clamp(step, 0.0F, static_cast<float>(kSteps - 1)));
  };
  std::array<std::int64_t, kSteps> histogram{};
  for (std::int64_t i = 0; i < pixels; ++i) {
    if (plane[i] == plane[i]) ++histogram[step_of(plane[i])];
  }
  const std::int64_t total = std::accumulate(histogram.begin(), histogram.end(), std::int64_t{0});
  std::int64_t last = 0;  // of the steps that are there
  for (const std::int64_t count : histogram) last = count > 0 ? count : last;
  if (total == last) return;
  // What lies below a step, as a share of all but the last: the table of Pillow.
  std::array<float, kSteps> level{};
  std::int64_t below = 0;
  for (std::size_t s = 0; s < level.size(); ++s) {
    const double share = static_cast<double>(below) / static_cast<double>(total - last);
    level[s] = range.black + static_cast<float>(std::min(share, 1.0)) * (range.white - range.black);
    below += histogram[s];
  }
  for (std::int64_t i = 0; i < pixels; ++i) {
    if (plane[i] == plane[i]) plane[i] = level[step_of(plane[i])];
  }
}

void add_noise(float* plane, std::int64_t pixels, const RandomStream& random, float deviation) {
  constexpr auto kLanes = static_cast<std::int64_t>(RandomStream::kLanes);
  constexpr std::int64_t kBlock = 4 * kLanes;
  RandomStream::Words words;
  std::array<float, kBlock> normal{};
  for (std::int64_t begin = 0; begin < pixels; begin += kBlock) {
    random.words(words, static_cast<std::uint64_t>(begin / 4));
    // Box and Muller's pairs, from words 0 and 1, and 2 and 3, of each index.
    for (std::size_t pair = 0; pair < 2; ++pair) {
      for (std::size_t lane = 0; lane < RandomStream::kLanes; ++lane) {
        const float u = (static_cast<float>(words[2 * pair][lane] >> 8U) + 1) * 0x1p-24F;
        const float angle = 2 * std::numbers::pi_v<float> *
                            static_cast<float>(words[2 * pair + 1][lane] >> 8U) * 0x1p-24F;
        const float radius = deviation * std::sqrt(-2 * std::log(u));
        normal[4 * lane + 2 * pair] = radius * std::cos(angle);
        normal[4 * lane + 2 * pair + 1] = radius * std::sin(angle);
      }
    }
    const std::int64_t count = std::min(kBlock, pixels - begin);
    for (std::int64_t i = 0; i < count; ++i) {
      plane[begin + i] += normal[static_cast<std::size_t>(i)];
    }
  }
}

}  // namespace trib::ops
