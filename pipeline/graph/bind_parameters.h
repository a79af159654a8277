// From a mapping of a document to the declared parameters.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "pipeline/graph/diagnostics.h"
#include "pipeline/graph/document.h"
#include "pipeline/graph/parameter.h"

namespace trib::pipeline {

/// What the mapping is, for messages and suggestions.
struct BindContext {
  std::string node;                     ///< empty for a section such as mesh or ingest
  std::string section;                  ///< "mesh." before the names of a section's keys
  std::vector<std::string> other_keys;  ///< keys of the mapping that are not parameters
};

/// Read every declared parameter from `mapping` (a null value is an empty mapping; a null entry
/// means the default). Unknown, missing, mistyped and out-of-range parameters are added to
/// `diagnostics`; those and absent ones have no data. Former names are added to `warnings`.
ParameterValues bind_parameters(std::span<const ParameterSpec> specs, const DocumentValue& mapping,
                                const BindContext& context, Diagnostics& diagnostics,
                                std::vector<Problem>& warnings);

/// Read a declaration's default. Throws RuntimeError if it does not fit the declaration.
ParameterValue default_value(const ParameterSpec& spec);

}  // namespace trib::pipeline
