// Channel aggregation: many channel tokens of a position become one spatial token.
//
// Axes: r position (sample x visible token), c channel, d dim.
#pragma once

#include <memory>

#include "model/plan.h"

namespace trib::model {

/// Make the aggregation that the options ask for. Throws ConfigError.
std::unique_ptr<Layer> make_aggregation(ParameterTable& table, const ModelPlan& plan,
                                        const AggregationOptions& options);

}  // namespace trib::model
