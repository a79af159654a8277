#include "pipeline/stage/read_errors.h"

#include <cmath>

namespace trib::pipeline {

std::int64_t ReadErrors::most_skipped(std::int64_t items) const {
  const double most = max_skipped < 1 ? std::ceil(max_skipped * static_cast<double>(items))
                                      : std::floor(max_skipped);
  constexpr double kAll = 9e18;
  return static_cast<std::int64_t>(std::fmin(most, kAll));
}

}  // namespace trib::pipeline
