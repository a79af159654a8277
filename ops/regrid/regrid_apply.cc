#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/base/parallel.h"
#include "ops/regrid/regrid_weights.h"

namespace trib::ops {
namespace {

// A share of the weights that is not there because of rounding alone.
constexpr double kRoundingOfCoverage = 1e-9;
// Multiplications that are worth a task of their own.
constexpr std::int64_t kWorkOfTask = std::int64_t{1} << 21;

struct Links {
  std::size_t begin, end;
};

Links links_of(const SparseMap& map, std::int64_t target) {
  const auto t = static_cast<std::size_t>(target);
  return {static_cast<std::size_t>(map.row_begin[t]),
          static_cast<std::size_t>(map.row_begin[t + 1])};
}

/// The value of a target of which the part `coverage` lies inside the source.
float value_of(double mean, double coverage, const MissingPolicy& missing) {
  const double wanted = missing.renormalise ? missing.min_valid : 1.0;
  const bool enough = coverage > 0 && coverage >= wanted - kRoundingOfCoverage;
  return enough ? static_cast<float>(mean) : std::numeric_limits<float>::quiet_NaN();
}

/// The value of a target made of sums over what is valid: of weights times values and of weights.
float value_of_valid(double sum, double valid, double coverage, const MissingPolicy& missing) {
  return valid > 0 ? value_of(sum / valid, valid * coverage, missing)
                   : std::numeric_limits<float>::quiet_NaN();
}

/// Sum of valid values and of their weights.
struct ValidSum {
  double sum = 0, valid = 0;

  void add(double weight, float value) {
    if (std::isnan(value)) return;
    sum += weight * static_cast<double>(value);
    valid += weight;
  }
};

float point(const SparseMap& map, std::int64_t target, const float* field,
            const MissingPolicy& missing) {
  const auto [begin, end] = links_of(map, target);
  const double coverage = map.coverage[static_cast<std::size_t>(target)];
  double sum = 0;
  for (std::size_t k = begin; k < end; ++k) sum += map.weights[k] * field[map.columns[k]];
  if (!missing.renormalise || !std::isnan(sum)) return value_of(sum, coverage, missing);
  ValidSum valid;
  for (std::size_t k = begin; k < end; ++k) valid.add(map.weights[k], field[map.columns[k]]);
  return value_of_valid(valid.sum, valid.valid, coverage, missing);
}

/// Rows of targets of one field: first the rows of the source are added up, which runs along
/// memory, then the columns of the few sums.
class SeparableRows {
 public:
  SeparableRows(const RegridWeights& weights, const MissingPolicy& missing)
      : rows_(weights.latitude),
        columns_(weights.longitude),
        missing_(missing),
        sums_(static_cast<std::size_t>(columns_.source_size)) {}

  void map(std::int64_t row, const float* field, float* out) {
    add_rows(row, field);
    const double row_coverage = rows_.coverage[static_cast<std::size_t>(row)];
    bool has_missing = false;
    for (std::int64_t c = 0; c < columns_.target_size(); ++c) {
      const double sum = along_columns(c, sums_);
      has_missing |= std::isnan(sum);
      out[c] = value_of(sum, row_coverage * coverage(c), missing_);
    }
    if (has_missing && missing_.renormalise) map_valid(row, field, out);
  }

 private:
  double coverage(std::int64_t column) const {
    return columns_.coverage[static_cast<std::size_t>(column)];
  }

  double along_columns(std::int64_t target, const std::vector<double>& sums) const {
    const auto [begin, end] = links_of(columns_, target);
    double sum = 0;
    for (std::size_t k = begin; k < end; ++k) {
      sum += columns_.weights[k] * sums[static_cast<std::size_t>(columns_.columns[k])];
    }
    return sum;
  }

  void add_rows(std::int64_t row, const float* field) {
    std::fill(sums_.begin(), sums_.end(), 0.0);
    const auto [begin, end] = links_of(rows_, row);
    const std::int64_t length = columns_.source_size;
    double* const sums = sums_.data();
    for (std::size_t k = begin; k < end; ++k) {
      const double weight = rows_.weights[k];
      const float* const values = field + rows_.columns[k] * length;
      for (std::int64_t x = 0; x < length; ++x) sums[x] += weight * static_cast<double>(values[x]);
    }
  }

  void map_valid(std::int64_t row, const float* field, float* out) {
    std::fill(sums_.begin(), sums_.end(), 0.0);
    valid_.assign(sums_.size(), 0.0);
    const auto [begin, end] = links_of(rows_, row);
    const std::int64_t length = columns_.source_size;
    double* const sums = sums_.data();
    double* const valid = valid_.data();
    for (std::size_t k = begin; k < end; ++k) {
      const double weight = rows_.weights[k];
      const float* const values = field + rows_.columns[k] * length;
      for (std::int64_t x = 0; x < length; ++x) {
        const bool is_valid = !std::isnan(values[x]);
        sums[x] += is_valid ? weight * static_cast<double>(values[x]) : 0.0;
        valid[x] += is_valid ? weight : 0.0;
      }
    }
    const double row_coverage = rows_.coverage[static_cast<std::size_t>(row)];
    for (std::int64_t c = 0; c < columns_.target_size(); ++c) {
      out[c] = value_of_valid(along_columns(c, sums_), along_columns(c, valid_),
                              row_coverage * coverage(c), missing_);
    }
  }

  const SparseMap& rows_;
  const SparseMap& columns_;
  MissingPolicy missing_;
  std::vector<double> sums_, valid_;  // of each column of the source
};

std::int64_t items_per_task(std::int64_t work_of_item) {
  return std::max<std::int64_t>(1, kWorkOfTask / std::max<std::int64_t>(1, work_of_item));
}

}  // namespace

void RegridWeights::apply(float* out, const float* in, std::int64_t fields,
                          const MissingPolicy& missing) const {
  if (!is_separable) {
    constexpr std::int64_t kPointsPerTask = 16384;
    parallel_for(fields * target_size, kPointsPerTask, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        out[i] = point(points, i % target_size, in + i / target_size * source_size, missing);
      }
    });
    return;
  }
  const std::int64_t rows = latitude.target_size(), row_length = longitude.target_size();
  if (rows == 0 || row_length == 0) return;
  const std::int64_t work =
      std::ssize(latitude.columns) / rows * longitude.source_size + std::ssize(longitude.columns);
  parallel_for(fields * rows, items_per_task(work), [&](std::int64_t begin, std::int64_t end) {
    SeparableRows separable(*this, missing);
    for (std::int64_t i = begin; i < end; ++i) {
      separable.map(i % rows, in + i / rows * source_size, out + i * row_length);
    }
  });
}

void RegridWeights::apply_adjoint(float* out, const float* in, std::int64_t fields) const {
  // Links of all targets, whichever way the weights are kept.
  const auto scatter = [&](double* field, const float* values) {
    if (!is_separable) {
      for (std::int64_t t = 0; t < target_size; ++t) {
        const auto [begin, end] = links_of(points, t);
        for (std::size_t k = begin; k < end; ++k) {
          field[points.columns[k]] += points.weights[k] * values[t];
        }
      }
      return;
    }
    std::vector<double> along_row(static_cast<std::size_t>(longitude.source_size));
    for (std::int64_t row = 0; row < latitude.target_size(); ++row) {
      std::fill(along_row.begin(), along_row.end(), 0.0);
      for (std::int64_t c = 0; c < longitude.target_size(); ++c) {
        const double value = values[row * longitude.target_size() + c];
        const auto [begin, end] = links_of(longitude, c);
        for (std::size_t k = begin; k < end; ++k) {
          along_row[static_cast<std::size_t>(longitude.columns[k])] += longitude.weights[k] * value;
        }
      }
      const auto [begin, end] = links_of(latitude, row);
      for (std::size_t k = begin; k < end; ++k) {
        double* const into = field + latitude.columns[k] * longitude.source_size;
        for (std::size_t x = 0; x < along_row.size(); ++x)
          into[x] += latitude.weights[k] * along_row[x];
      }
    }
  };
  parallel_for(fields, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> field(static_cast<std::size_t>(source_size));
    for (std::int64_t f = begin; f < end; ++f) {
      std::fill(field.begin(), field.end(), 0.0);
      scatter(field.data(), in + f * target_size);
      std::transform(field.begin(), field.end(), out + f * source_size,
                     [](double value) { return static_cast<float>(value); });
    }
  });
}

}  // namespace trib::ops
