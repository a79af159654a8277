// Dropout and stochastic depth (Huang et al., 2016), drawn per sample.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "ops/base/split.h"

namespace trib::model {

/// What is dropped in a step is a function of these and of places in the model and the sample: not
/// of the rank, the thread or the other samples.
struct DropKeys {
  std::uint64_t seed = 0;
  std::span<const std::uint64_t> sample_keys = {};  ///< [B]
};

/// The dropout at one place of a model. Masks are drawn again in backward, so nothing is kept.
class Dropout {
 public:
  /// `rate` of the elements are dropped, and at `path_rate` whole samples; what is kept is scaled
  /// so that the expected value stays. `place` names the random numbers.
  Dropout(const std::string& place, double rate, double path_rate = 0);

  /// Rows `rows` of the B * tokens rows, of which y_nd and x_nd hold no others; y_nd may be x_nd.
  /// Without keys, or if both rates are zero, x_nd itself is the result and y_nd is left alone.
  /// The same call on gradients is the backward.
  const float* apply(const DropKeys* keys, float* y_nd, const float* x_nd, Range rows,
                     std::int64_t tokens, std::int64_t dim) const;

 private:
  std::string elements_name_, paths_name_;  // of random numbers
  double rate_, path_rate_;
};

}  // namespace trib::model
