#include "ops/kernels/dropout.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "ops/base/parallel.h"
#include "ops/kernels/reduce.h"

namespace trib::ops {
namespace {

constexpr auto kLanes = static_cast<std::int64_t>(RandomStream::kLanes);
constexpr std::int64_t kDraw = 4 * kLanes;          // columns that one draw of words decides
constexpr std::int64_t kGrain = kElementGrain / 4;  // a drawn number costs several plain operations

// A word below it drops its element; 1 - rate of the words are not.
std::uint32_t threshold_of(double rate) {
  return static_cast<std::uint32_t>(std::min(rate * 0x1p32, 0x1p32 - 1));
}

// The first `count` columns decided by `words`: word w of lane i decides column w * kLanes + i.
void drop(float* y, const float* x, std::int64_t count, const RandomStream::Words& words,
          std::uint32_t threshold, float factor) {
  std::array<std::uint32_t, kDraw> flat;
  for (std::size_t w = 0; w < words.size(); ++w) {
    std::copy(words[w].begin(), words[w].end(), flat.begin() + w * words[w].size());
  }
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    const float kept = x[i] * factor;
    y[i] = flat[static_cast<std::size_t>(i)] >= threshold ? kept : 0.0F;
  }
}

void drop_row(float* y, const float* x, std::int64_t dim, const RandomStream& stream,
              std::uint64_t row, std::uint32_t threshold, float factor) {
  RandomStream::Words words;
  for (std::int64_t first = 0; first < dim; first += kDraw) {
    // Each row has 2^32 indices to itself, so that it does not matter how wide others are.
    stream.words(words, row << 32 | static_cast<std::uint64_t>(first / kDraw * kLanes));
    if (dim - first >= kDraw) {
      drop(y + first, x + first, kDraw, words, threshold, factor);
    } else {
      drop(y + first, x + first, dim - first, words, threshold, factor);
    }
  }
}

}  // namespace

void dropout(float* y_rd, const float* x_rd, std::int64_t begin, std::int64_t end,
             std::int64_t tokens, std::int64_t dim, double rate,
             std::span<const SampleDropout> samples) {
  const std::uint32_t threshold = threshold_of(rate);
  const auto inverse = static_cast<float>(1 / (1 - rate));
  const std::int64_t grain = std::max<std::int64_t>(kGrain / std::max<std::int64_t>(dim, 1), 1);
  parallel_for(end - begin, grain, [=](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      const std::int64_t row = begin + r;
      const SampleDropout& sample = samples[static_cast<std::size_t>(row / tokens)];
      const float* x = x_rd + r * dim;
      float* y = y_rd + r * dim;
      if (sample.scale == 0) {
        std::fill_n(y, dim, 0.0F);
      } else if (threshold == 0) {
#pragma omp simd
        for (std::int64_t i = 0; i < dim; ++i) y[i] = x[i] * sample.scale;
      } else {
        drop_row(y, x, dim, sample.stream, static_cast<std::uint64_t>(row % tokens), threshold,
                 sample.scale * inverse);
      }
    }
  });
}

}  // namespace trib::ops
