#include "model/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/base/error.h"
#include "ops/kernels/loss.h"

namespace trib::model {
namespace {

const float* image_of(const Tensor& x_bvhw, std::int64_t b, std::int64_t v) {
  return x_bvhw.data<float>() + (b * x_bvhw.dim(1) + v) * x_bvhw.dim(2) * x_bvhw.dim(3);
}

}  // namespace

double weighted_rmse(const float* prediction_hw, const float* target_hw, const float* weight_h,
                     std::int64_t height, std::int64_t width) {
  double sum = 0;
  std::int64_t count = 0;
  for (std::int64_t h = 0; h < height; ++h) {
    double row = 0;
    for (std::int64_t i = h * width; i < (h + 1) * width; ++i) {
      if (std::isnan(target_hw[i])) continue;
      const double error = static_cast<double>(prediction_hw[i]) - target_hw[i];
      row += error * error;
      ++count;
    }
    sum += weight_h[h] * row;
  }
  if (count == 0) return std::numeric_limits<double>::quiet_NaN();
  return std::sqrt(sum / static_cast<double>(count));
}

ForecastMetrics::ForecastMetrics(const InputSpec& input, std::vector<std::string> variables,
                                 std::vector<double> stddevs)
    : variables_(variables.empty() ? input.targets : std::move(variables)),
      weights_(static_cast<std::size_t>(input.height), 1.0F) {
  if (!stddevs.empty() && stddevs.size() != variables_.size()) {
    throw ConfigError(fmt::format("forecast metrics: {} standard deviations for {} variables",
                                  stddevs.size(), variables_.size()));
  }
  for (std::size_t v = 0; v < variables_.size(); ++v) {
    const auto target = std::find(input.targets.begin(), input.targets.end(), variables_[v]);
    if (target == input.targets.end()) {
      throw ConfigError(fmt::format("forecast metrics: variable {} is not among the targets {}",
                                    variables_[v], fmt::join(input.targets, ", ")));
    }
    sums_.push_back({.target = target - input.targets.begin(),
                     .channel = input.find_channel(variables_[v]),
                     .stddev = stddevs.empty() ? 1.0 : stddevs[v]});
  }
  if (input.latitudes.empty()) return;
  if (static_cast<std::int64_t>(input.latitudes.size()) != input.height) {
    throw ConfigError(fmt::format("forecast metrics: {} latitudes for {} rows",
                                  input.latitudes.size(), input.height));
  }
  ops::latitude_weights(weights_.data(), input.latitudes.data(), input.height);
}

void ForecastMetrics::add(const Step& step) {
  const Tensor& target_bvhw = step.input.target_bvhw;
  const std::int64_t height = target_bvhw.dim(2), width = target_bvhw.dim(3);
  for (std::int64_t b = 0; b < step.batch(); ++b) {
    for (std::size_t v = 0; v < sums_.size(); ++v) {
      Sums& sums = sums_[v];
      const float* target_hw = image_of(target_bvhw, b, sums.target);
      const auto rmse_of = [&](const float* forecast_hw) {
        return weighted_rmse(forecast_hw, target_hw, weights_.data(), height, width);
      };
      const double rmse = rmse_of(image_of(step.prediction_bvhw, b, static_cast<std::int64_t>(v)));
      if (std::isnan(rmse)) continue;
      sums.rmse += rmse;
      sums.persistence += sums.channel < 0 ? std::numeric_limits<double>::quiet_NaN()
                                           : rmse_of(image_of(step.input.x_bchw, b, sums.channel));
      ++sums.samples;
    }
  }
}

std::vector<ForecastScore> ForecastMetrics::scores() const {
  std::vector<ForecastScore> scores;
  for (std::size_t v = 0; v < sums_.size(); ++v) {
    const Sums& sums = sums_[v];
    const double scale = sums.stddev / static_cast<double>(sums.samples);
    scores.push_back({.variable = variables_[v],
                      .rmse = sums.rmse * scale,
                      .persistence = sums.persistence * scale,
                      .samples = sums.samples});
  }
  return scores;
}

}  // namespace trib::model
