// Bilinear regridding between regular latitude-longitude grids, as cached sparse weights.
//
// The weights are separable in latitude and longitude and equal those of `cdo remapbil`.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace trib::ops {

/// Cell centres in degrees, in the order of the rows and columns. Fields on the grid are
/// [latitude, longitude].
struct RegularGrid {
  std::vector<double> latitudes;
  std::vector<double> longitudes;

  std::int64_t size() const {
    return static_cast<std::int64_t>(latitudes.size() * longitudes.size());
  }
  bool operator==(const RegularGrid&) const = default;
};

/// The global grid of WeatherBench: cells of `degrees`, latitudes ascending from
/// -90 + degrees / 2, longitudes from 0. Throws ConfigError unless `degrees` divides 180.
RegularGrid weatherbench_grid(double degrees);

/// A linear map from fields on one grid to fields on another, in compressed rows: target t is the
/// sum of weights[k] * source[columns[k]] over k in [row_begin[t], row_begin[t + 1]). Links of
/// weight zero are not there.
struct RegridWeights {
  std::int64_t source_size = 0;
  std::int64_t target_size = 0;
  std::vector<std::int64_t> row_begin;
  std::vector<std::int32_t> columns;
  std::vector<double> weights;

  /// Map many fields: in [fields, source_size] -> out [fields, target_size]. A NaN in a source
  /// that contributes makes the target NaN.
  void apply(float* out, const float* in, std::int64_t fields) const;

  /// The transposed map: in [fields, target_size] -> out [fields, source_size], overwritten.
  void apply_adjoint(float* out, const float* in, std::int64_t fields) const;
};

/// Compute the weights of bilinear interpolation, at most four links a target.
///
/// Source axes must be strictly monotone, in either direction; longitudes may start anywhere and
/// step over 0 or 180. A source whose longitudes go round the globe is periodic. Target axes are
/// free. Coordinates closer than single precision (2e-5 degrees) count as equal.
///
/// A target beyond the outermost row of a global source, by one row spacing at most (a grid
/// without the poles), takes the four nearest points of that row, weighted by the inverse of
/// their great-circle distance, as CDO does.
///
/// Throws ConfigError for axes that are not monotone and for targets farther outside.
RegridWeights bilinear_weights(const RegularGrid& source, const RegularGrid& target);

/// Weights computed once for each pair of grids. May be used from any thread.
class RegridCache {
 public:
  std::shared_ptr<const RegridWeights> get(const RegularGrid& source, const RegularGrid& target);

 private:
  struct Entry {
    RegularGrid source, target;
    std::shared_ptr<const RegridWeights> weights;
  };
  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace trib::ops
