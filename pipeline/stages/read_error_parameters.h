// The parameters by which every reader says what becomes of items that cannot be read.
#pragma once

#include <string>
#include <vector>

#include "pipeline/graph/parameter.h"
#include "pipeline/stage/read_errors.h"

namespace trib::pipeline {

/// Declarations of `on_error`, `max_skipped` and `timeout`; `item` is what the reader calls its
/// items
/// ("image").
std::vector<ParameterSpec> read_error_parameters(const std::string& item);

/// Their values.
ReadErrors read_errors_of(const ParameterValues& parameters);

}  // namespace trib::pipeline
