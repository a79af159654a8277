// Initial values of parameters: functions of (seed, parameter name, global index) alone.
#include <cmath>
#include <cstdint>
#include <functional>

#include "model/parameters.h"
#include "model/position_embedding.h"
#include "ops/base/parallel.h"
#include "ops/base/random.h"

namespace trib::model {
namespace {

constexpr float kStddev = 0.02F;
constexpr std::int64_t kGrain = 4096;

// Draw the own part of a parameter by the places of its elements in the whole.
void fill(float* value, const ParameterSpec& spec,
          const std::function<float(std::uint64_t)>& draw) {
  for_each_run(spec.shape, spec.split,
               [&](std::int64_t local, std::int64_t global, std::int64_t count) {
                 parallel_for(count, kGrain, [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     value[local + i] = draw(static_cast<std::uint64_t>(global + i));
                   }
                 });
               });
}

float xavier_bound(const Shape& shape) {
  const int out_axis = shape.rank() > 2 ? 1 : 0;
  std::int64_t in = 1;
  for (int axis = out_axis + 1; axis < shape.rank(); ++axis) in *= shape[axis];
  return static_cast<float>(std::sqrt(6.0 / static_cast<double>(in + shape[out_axis])));
}

void initialize(float* value, const ParameterSpec& spec, const RandomStream& random) {
  switch (spec.init) {
    case Init::zeros:
      return fill(value, spec, [](std::uint64_t) { return 0.0F; });
    case Init::ones:
      return fill(value, spec, [](std::uint64_t) { return 1.0F; });
    case Init::truncated_normal:
      return fill(value, spec,
                  [&](std::uint64_t i) { return random.truncated_normal(i, kStddev); });
    case Init::normal:
      return fill(value, spec, [&](std::uint64_t i) { return kStddev * random.normal(i); });
    case Init::xavier_uniform: {
      const float bound = xavier_bound(spec.shape);
      return fill(value, spec,
                  [&](std::uint64_t i) { return bound * (2 * random.uniform(i) - 1); });
    }
    case Init::average: {
      const float mean = 1.0F / static_cast<float>(spec.shape[spec.shape.rank() - 1]);
      return fill(value, spec, [mean](std::uint64_t) { return mean; });
    }
    case Init::sincos_1d:
      return for_each_run(spec.shape, spec.split,
                          [&](std::int64_t local, std::int64_t global, std::int64_t count) {
                            const std::int64_t dim = spec.shape[2];
                            sincos_1d(value + local, global / dim, count / dim, dim);
                          });
    case Init::sincos_2d:
      return sincos_2d(value, spec.shape[1] / spec.grid_width, spec.grid_width, spec.shape[2]);
  }
}

}  // namespace

void Parameters::initialize(std::uint64_t seed) {
  for (int unit = 0; unit <= table_->last_unit(); ++unit) initialize_unit(unit, seed);
  values_changed();
}

void Parameters::initialize_unit(int unit, std::uint64_t seed) {
  for (ParameterId id = table_->unit(unit).first; id < table_->unit(unit).end; ++id) {
    const ParameterSpec& spec = table_->spec(id);
    model::initialize(value(id), spec, RandomStream(seed, spec.name));
  }
}

}  // namespace trib::model
