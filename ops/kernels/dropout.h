// Dropout whose mask is drawn, never stored.
#pragma once

#include <cstdint>
#include <span>

#include "ops/base/random.h"

namespace trib::ops {

/// What a dropout does to the rows of one sample.
struct SampleDropout {
  RandomStream stream;  ///< whose numbers decide what is kept
  float scale = 1;      ///< factor on the sample as a whole; 0 drops all of it
};

/// Rows [begin, end) of those of all samples, `tokens` a sample, of which y_rd and x_rd hold no
/// others: y = x * scale / (1 - rate) where kept, 0 where dropped. y may be x; rate is in [0, 1).
///
/// Which elements are kept is a function of the sample's stream, the row's number within its
/// sample and the column: the same in any range of rows, in any batch, on any number of threads.
/// The backward of dropout is the same call on the gradient.
void dropout(float* y_rd, const float* x_rd, std::int64_t begin, std::int64_t end,
             std::int64_t tokens, std::int64_t dim, double rate,
             std::span<const SampleDropout> samples);

}  // namespace trib::ops
