#include "model/resize_position_embedding.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "ops/base/parallel.h"

namespace trib::model {
namespace {

constexpr double kA = -0.75;

// The four positions a new one is computed from, and their weights.
struct Taps {
  std::array<std::int64_t, 4> positions;
  std::array<double, 4> weights;
};

// Keys' cubic convolution at distance x.
double cubic(double x) {
  x = std::abs(x);
  if (x <= 1) return ((kA + 2) * x - (kA + 3)) * x * x + 1;
  return ((kA * x - 5 * kA) * x + 8 * kA) * x - 4 * kA;
}

std::vector<Taps> taps_along(std::int64_t to, std::int64_t from) {
  std::vector<Taps> taps(static_cast<std::size_t>(to));
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  for (std::int64_t i = 0; i < to; ++i) {
    const double centre = scale * (static_cast<double>(i) + 0.5) - 0.5;
    const double left = std::floor(centre);
    Taps& at = taps[static_cast<std::size_t>(i)];
    for (std::size_t k = 0; k < 4; ++k) {
      const double position = left - 1 + static_cast<double>(k);
      at.positions[k] = std::clamp<std::int64_t>(static_cast<std::int64_t>(position), 0, from - 1);
      at.weights[k] = cubic(centre - position);
    }
  }
  return taps;
}

}  // namespace

void resize_position_embedding(float* to_nd, const PositionGrid& to, const float* from_nd,
                               const PositionGrid& from, std::int64_t dim) {
  const std::vector<Taps> rows = taps_along(to.height, from.height);
  const std::vector<Taps> columns = taps_along(to.width, from.width);
  parallel_for(to.positions(), 16, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> sum_d(static_cast<std::size_t>(dim));
    for (std::int64_t n = begin; n < end; ++n) {
      const Taps& row = rows[static_cast<std::size_t>(n / to.width)];
      const Taps& column = columns[static_cast<std::size_t>(n % to.width)];
      std::fill(sum_d.begin(), sum_d.end(), 0.0);
      for (std::size_t y = 0; y < 4; ++y) {
        for (std::size_t x = 0; x < 4; ++x) {
          const double weight = row.weights[y] * column.weights[x];
          const float* value_d =
              from_nd + (row.positions[y] * from.width + column.positions[x]) * dim;
          for (std::int64_t d = 0; d < dim; ++d) {
            sum_d[static_cast<std::size_t>(d)] += weight * double{value_d[d]};
          }
        }
      }
      std::transform(sum_d.begin(), sum_d.end(), to_nd + n * dim,
                     [](double sum) { return static_cast<float>(sum); });
    }
  });
}

}  // namespace trib::model
