#include "model/aggregation/aggregation.h"

#include "model/aggregation/dchag_aggregation.h"
#include "model/aggregation/flat_aggregation.h"
#include "ops/base/error.h"

namespace trib::model {

std::unique_ptr<Layer> make_aggregation(ParameterTable& table, const ModelPlan& plan,
                                        const AggregationOptions& options) {
  if (options.hierarchy == Hierarchy::dchag) {
    return std::make_unique<DchagAggregation>(table, plan, options);
  }
  if (options.tree != 0) {
    throw ConfigError(
        "aggregation: tree divides the channels of a partition; it needs "
        "hierarchy: dchag");
  }
  return std::make_unique<FlatAggregation>(table, plan, options);
}

}  // namespace trib::model
