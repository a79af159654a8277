// Regridding between regular latitude-longitude grids: sparse weights, made once and applied to
// many fields.
//
// Three methods, each equal to CDO's operator of that kind:
//   bilinear      `remapbil`: in latitude and longitude. The first-order method of most studies; it
//                 looks at four points and leaves out all between, however coarse the target.
//   nearest       `remapnn`: the nearest point on the sphere.
//   conservative  `remapcon`: mean over the target's cell, first order. Areas are exact for cells
//                 between circles of latitude and meridians.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/regrid/regular_grid.h"

namespace trib::ops {

enum class RegridMethod : std::uint8_t { bilinear, nearest, conservative };

/// A linear map in compressed rows: target t is the sum of weights[k] * source[columns[k]] over k
/// in [row_begin[t], row_begin[t + 1]). The weights of a target sum to 1, or it has no links.
struct SparseMap {
  std::int64_t source_size = 0;
  std::vector<std::int64_t> row_begin{0};
  std::vector<std::int32_t> columns;
  std::vector<double> weights;
  /// Part of each target that lies inside the source, 0 (no links) to 1.
  std::vector<double> coverage;

  std::int64_t target_size() const { return static_cast<std::int64_t>(row_begin.size()) - 1; }
  bool operator==(const SparseMap&) const = default;

  void link(std::int32_t column, double weight) {
    columns.push_back(column);
    weights.push_back(weight);
  }
  /// End the links of a target.
  void end_target(double covered);
};

/// What becomes of a target that touches missing values (NaN), or the outside of the source.
struct MissingPolicy {
  /// Take the weighted mean of what there is, instead of NaN.
  bool renormalise = false;
  /// Least part of the target's weight that must be there; with 0 any part does.
  double min_valid = 0;
};

/// Weights between two grids: either one map of all points, or one along each axis, which one after
/// the other do the same.
struct RegridWeights {
  std::int64_t source_size = 0, target_size = 0;
  bool is_separable = false;
  SparseMap points;               ///< if not separable
  SparseMap latitude, longitude;  ///< if separable

  bool operator==(const RegridWeights&) const = default;

  /// Map many fields: in [fields, source_size] -> out [fields, target_size]. In parallel over
  /// fields and, where these are large, rows.
  void apply(float* out, const float* in, std::int64_t fields,
             const MissingPolicy& missing = {}) const;

  /// The transposed map: in [fields, target_size] -> out [fields, source_size], overwritten. It
  /// knows of no missing values.
  void apply_adjoint(float* out, const float* in, std::int64_t fields) const;
};

/// Compute weights.
///
/// Source axes must be strictly monotone, in either direction; longitudes may start anywhere and
/// step over 0 or 180. A source whose longitudes go round the globe is periodic. Target axes are
/// free, except that those of a conservative target must be monotone as well. Coordinates closer
/// than single precision (2e-5 degrees) count as equal, and overlaps narrower than that as none.
///
/// Bilinear: a target beyond the outermost row of a global source, by one row spacing at most (a
/// grid without the poles), takes the four nearest points of that row, weighted by the inverse of
/// their great-circle distance, as CDO does. Nearest: of points equally near that of the lowest
/// index is taken, row before column, as CDO does; targets within the cells of the source, up to
/// the poles, are inside it. Conservative: cells are divided as GridAxis says.
///
/// Targets outside the source throw ConfigError, or have no links and coverage 0 if
/// `allow_outside`; cells of which a part lies outside have the links of the other part.
/// Throws ConfigError also for axes that are no grid.
RegridWeights regrid_weights(const RegularGrid& source, const RegularGrid& target,
                             RegridMethod method, bool allow_outside = false);

}  // namespace trib::ops
