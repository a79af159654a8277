#include "ops/regrid/regrid_weights.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <string_view>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/base/parallel.h"

namespace trib::ops {
namespace {

// Files often keep coordinates in single precision, which resolves 360 degrees to 3e-5.
constexpr double kCoordinateTolerance = 2e-5;

/// A source axis in ascending order: positions in degrees and their indices in the grid.
struct Axis {
  std::vector<double> position;
  std::vector<std::int32_t> index;

  std::size_t size() const { return position.size(); }
};

/// Two neighbours on an axis: the value at x is (1 - t) * low + t * high.
struct Bracket {
  std::int32_t low, high;
  double t;
};

double degrees_apart(double longitude, double other) {
  return std::remainder(longitude - other, 360.0);
}

Axis ascending_axis(std::string_view name, const std::vector<double>& values) {
  if (values.size() < 2) {
    throw ConfigError(fmt::format("regridding: the source grid needs at least 2 {}s, found {}",
                                  name, values.size()));
  }
  Axis axis{values, std::vector<std::int32_t>(values.size())};
  std::iota(axis.index.begin(), axis.index.end(), 0);
  if (values.back() < values.front()) {
    std::reverse(axis.position.begin(), axis.position.end());
    std::reverse(axis.index.begin(), axis.index.end());
  }
  for (std::size_t i = 1; i < axis.size(); ++i) {
    if (!(axis.position[i] > axis.position[i - 1])) {
      throw ConfigError(fmt::format(
          "regridding: source {}s must be strictly monotone, found {} next to {} at index {}", name,
          axis.position[i - 1], axis.position[i], axis.index[i]));
    }
  }
  return axis;
}

Axis latitude_axis(const std::vector<double>& latitudes) {
  Axis axis = ascending_axis("latitude", latitudes);
  if (axis.position.front() < -90 - kCoordinateTolerance ||
      axis.position.back() > 90 + kCoordinateTolerance) {
    throw ConfigError(fmt::format("regridding: source latitudes {} .. {} leave -90 .. 90",
                                  axis.position.front(), axis.position.back()));
  }
  return axis;
}

/// Longitudes made continuous, so that 350, 355, 0, 5 becomes 350, 355, 360, 365.
Axis longitude_axis(const std::vector<double>& longitudes) {
  std::vector<double> continuous = longitudes;
  for (std::size_t i = 1; i < continuous.size(); ++i) {
    continuous[i] = continuous[i - 1] + degrees_apart(longitudes[i], longitudes[i - 1]);
  }
  Axis axis = ascending_axis("longitude", continuous);
  if (const double span = axis.position.back() - axis.position.front();
      span > 360 + kCoordinateTolerance) {
    throw ConfigError(
        fmt::format("regridding: source longitudes overlap, they span {} degrees", span));
  }
  return axis;
}

/// Whether the axis goes round the globe. If so, its first point is repeated 360 degrees later,
/// unless the file did that already.
bool close_circle(Axis& axis) {
  double largest_step = 0;
  for (std::size_t i = 1; i < axis.size(); ++i) {
    largest_step = std::max(largest_step, axis.position[i] - axis.position[i - 1]);
  }
  const double gap = axis.position.front() + 360 - axis.position.back();
  if (gap > largest_step + static_cast<double>(axis.size()) * kCoordinateTolerance) return false;
  if (gap > kCoordinateTolerance) {
    axis.position.push_back(axis.position.front() + 360);
    axis.index.push_back(axis.index.front());
  }
  return true;
}

bool is_within(const Axis& axis, double x) {
  return x >= axis.position.front() - kCoordinateTolerance &&
         x <= axis.position.back() + kCoordinateTolerance;
}

Bracket bracket(const Axis& axis, double x) {
  const auto above = std::upper_bound(axis.position.begin() + 1, axis.position.end() - 1, x);
  const auto high = static_cast<std::size_t>(above - axis.position.begin());
  const double from = axis.position[high - 1], to = axis.position[high];
  double t = (x - from) / (to - from);
  if (x - from < kCoordinateTolerance) t = 0;
  if (to - x < kCoordinateTolerance) t = 1;
  return {axis.index[high - 1], axis.index[high], t};
}

/// Brackets of the target longitudes, moved by whole turns onto the source axis.
std::vector<Bracket> longitude_brackets(const Axis& axis, const std::vector<double>& targets) {
  std::vector<Bracket> brackets;
  brackets.reserve(targets.size());
  const double first = axis.position.front();
  for (const double target : targets) {
    double x = target - 360 * std::floor((target - first + kCoordinateTolerance) / 360);
    if (!is_within(axis, x)) {  // also true for NaN
      throw ConfigError(
          fmt::format("regridding: target longitude {} lies outside the source, {} .. {}", target,
                      first, axis.position.back()));
    }
    brackets.push_back(bracket(axis, x));
  }
  return brackets;
}

class Builder {
 public:
  Builder(const RegularGrid& source, const RegularGrid& target)
      : source_(source), row_length_(static_cast<std::int32_t>(source.longitudes.size())) {
    weights_.source_size = source.size();
    weights_.target_size = target.size();
    weights_.row_begin.reserve(static_cast<std::size_t>(target.size()) + 1);
    weights_.columns.reserve(static_cast<std::size_t>(target.size()) * 4);
    weights_.weights.reserve(static_cast<std::size_t>(target.size()) * 4);
    weights_.row_begin.push_back(0);
  }

  /// Add a row of targets between two rows of the source.
  void interpolate(const Bracket& row, const std::vector<Bracket>& columns) {
    for (const Bracket& column : columns) {
      link(row.low, column.low, (1 - row.t) * (1 - column.t));
      link(row.low, column.high, (1 - row.t) * column.t);
      link(row.high, column.low, row.t * (1 - column.t));
      link(row.high, column.high, row.t * column.t);
      end_target();
    }
  }

  /// Add a row of targets beyond the outermost row of the source.
  void extrapolate(double latitude, std::int32_t row, const std::vector<double>& longitudes) {
    for (const double longitude : longitudes) {
      const std::vector<std::int32_t> nearest = nearest_columns(longitude);
      double total = 0;
      for (const std::int32_t column : nearest)
        total += closeness(latitude, longitude, row, column);
      for (const std::int32_t column : nearest) {
        link(row, column, closeness(latitude, longitude, row, column) / total);
      }
      end_target();
    }
  }

  RegridWeights finish() { return std::move(weights_); }

 private:
  void link(std::int32_t row, std::int32_t column, double weight) {
    if (weight == 0) return;
    weights_.columns.push_back(row * row_length_ + column);
    weights_.weights.push_back(weight);
  }

  void end_target() {
    weights_.row_begin.push_back(static_cast<std::int64_t>(weights_.columns.size()));
  }

  /// The four columns nearest in longitude; of equals the one that comes first.
  std::vector<std::int32_t> nearest_columns(double longitude) const {
    const auto distance = [&](std::int32_t column) {
      return std::abs(
          degrees_apart(source_.longitudes[static_cast<std::size_t>(column)], longitude));
    };
    std::vector<std::int32_t> columns(source_.longitudes.size());
    std::iota(columns.begin(), columns.end(), 0);
    const auto end = columns.begin() + std::min<std::int32_t>(4, row_length_);
    std::partial_sort(columns.begin(), end, columns.end(), [&](std::int32_t a, std::int32_t b) {
      return std::pair(distance(a), a) < std::pair(distance(b), b);
    });
    columns.erase(end, columns.end());
    return columns;
  }

  /// Inverse of the great-circle distance (haversine formula) to a point of the source.
  double closeness(double latitude, double longitude, std::int32_t row, std::int32_t column) const {
    constexpr double kRadians = std::numbers::pi / 180;
    const double there = source_.latitudes[static_cast<std::size_t>(row)];
    const double turn =
        degrees_apart(longitude, source_.longitudes[static_cast<std::size_t>(column)]);
    const double north = std::sin((latitude - there) * kRadians / 2);
    const double east = std::sin(turn * kRadians / 2);
    const double haversine =
        north * north + std::cos(latitude * kRadians) * std::cos(there * kRadians) * east * east;
    return 1 / std::asin(std::sqrt(haversine));
  }

  const RegularGrid& source_;
  std::int32_t row_length_;
  RegridWeights weights_;
};

}  // namespace

RegularGrid weatherbench_grid(double degrees) {
  const double rows = 180 / degrees;
  if (!(degrees > 0) || std::abs(rows - std::round(rows)) > 1e-9 * rows) {
    throw ConfigError(fmt::format("grid spacing must divide 180 degrees, found {}", degrees));
  }
  RegularGrid grid;
  const auto count = static_cast<std::int64_t>(std::llround(rows));
  for (std::int64_t i = 0; i < count; ++i) {
    grid.latitudes.push_back(-90 + degrees * (static_cast<double>(i) + 0.5));
  }
  for (std::int64_t i = 0; i < 2 * count; ++i) {
    grid.longitudes.push_back(degrees * static_cast<double>(i));
  }
  return grid;
}

RegridWeights bilinear_weights(const RegularGrid& source, const RegularGrid& target) {
  const Axis rows = latitude_axis(source.latitudes);
  Axis columns = longitude_axis(source.longitudes);
  const bool is_global = close_circle(columns);
  if (source.size() > std::numeric_limits<std::int32_t>::max()) {
    throw ConfigError(fmt::format("regridding: a source of {} points is too large", source.size()));
  }

  const std::vector<Bracket> across = longitude_brackets(columns, target.longitudes);
  Builder builder(source, target);
  for (const double latitude : target.latitudes) {
    const std::size_t last = rows.size() - 1;
    if (is_within(rows, latitude)) {
      builder.interpolate(bracket(rows, latitude), across);
      continue;
    }
    const bool is_south = latitude < rows.position.front();
    const std::size_t edge = is_south ? 0 : last;
    const double spacing = is_south ? rows.position[1] - rows.position[0]
                                    : rows.position[last] - rows.position[last - 1];
    const double beyond = std::abs(latitude - rows.position[edge]);
    const bool is_near = beyond <= spacing + kCoordinateTolerance;
    if (!is_global || !is_near || std::abs(latitude) > 90 + kCoordinateTolerance) {
      throw ConfigError(
          fmt::format("regridding: target latitude {} lies outside the source, {} .. {} ({})",
                      latitude, rows.position.front(), rows.position.back(),
                      is_global ? "by more than one cell" : "which is regional"));
    }
    builder.extrapolate(latitude, rows.index[edge], target.longitudes);
  }
  return builder.finish();
}

void RegridWeights::apply(float* out, const float* in, std::int64_t fields) const {
  constexpr std::int64_t kTargetsPerTask = 4096;
  parallel_for(fields * target_size, kTargetsPerTask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float* const field = in + i / target_size * source_size;
      const auto target = static_cast<std::size_t>(i % target_size);
      const auto links_end = static_cast<std::size_t>(row_begin[target + 1]);
      double sum = 0;
      for (auto k = static_cast<std::size_t>(row_begin[target]); k < links_end; ++k) {
        sum += weights[k] * field[columns[k]];
      }
      out[i] = static_cast<float>(sum);
    }
  });
}

void RegridWeights::apply_adjoint(float* out, const float* in, std::int64_t fields) const {
  parallel_for(fields, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t f = begin; f < end; ++f) {
      float* const field = out + f * source_size;
      std::fill_n(field, source_size, 0.0f);
      for (std::int64_t target = 0; target < target_size; ++target) {
        const double value = in[f * target_size + target];
        const auto row = static_cast<std::size_t>(target);
        const auto links_end = static_cast<std::size_t>(row_begin[row + 1]);
        for (auto k = static_cast<std::size_t>(row_begin[row]); k < links_end; ++k) {
          field[columns[k]] += static_cast<float>(weights[k] * value);
        }
      }
    }
  });
}

std::shared_ptr<const RegridWeights> RegridCache::get(const RegularGrid& source,
                                                      const RegularGrid& target) {
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : entries_) {
    if (entry.source == source && entry.target == target) return entry.weights;
  }
  entries_.push_back(
      {source, target, std::make_shared<const RegridWeights>(bilinear_weights(source, target))});
  return entries_.back().weights;
}

}  // namespace trib::ops
