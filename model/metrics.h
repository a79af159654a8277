// Forecast skill: latitude-weighted root mean squared error per variable, beside persistence.
//
// Axes: b sample, v variable, h/w pixel rows and columns.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/model.h"

namespace trib::model {

/// sqrt(mean over h, w of weight_h (prediction - target)^2) of one image, with pixels whose target
/// is NaN left out of the mean; NaN if none is left.
double weighted_rmse(const float* prediction_hw, const float* target_hw, const float* weight_h,
                     std::int64_t height, std::int64_t width);

/// Skill of one variable in its own units.
struct ForecastScore {
  std::string variable;
  double rmse = 0;         ///< of the model
  double persistence = 0;  ///< of "nothing changes"; NaN if the variable is no input channel
  std::int64_t samples = 0;
};

/// Mean over samples of the per-sample weighted RMSE (ClimaX; not the root of the mean over time as
/// WeatherBench 1 takes it). Weights are cos(latitude) over its mean, 1 where latitudes are
/// unknown.
class ForecastMetrics {
 public:
  /// `variables` in the order of the predictions, all among input.targets (empty: all of them);
  /// `stddevs` by variable undo the normalisation of errors (empty: leave them normalised).
  /// Throws ConfigError.
  ForecastMetrics(const InputSpec& input, std::vector<std::string> variables,
                  std::vector<double> stddevs = {});

  /// Add the samples of a step: prediction_bvhw, target and, for persistence, the input.
  void add(const Step& step);
  std::vector<ForecastScore> scores() const;

 private:
  struct Sums {
    std::int64_t target, channel;  // places; channel -1 if the variable is no input
    double stddev;
    double rmse = 0, persistence = 0;
    std::int64_t samples = 0;
  };

  std::vector<std::string> variables_;
  std::vector<Sums> sums_;
  std::vector<float> weights_;
};

}  // namespace trib::model
