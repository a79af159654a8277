// Parameter values as JSON. For .cc files only: keeps the JSON library out of public headers.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "pipeline/graph/parameter.h"

namespace trib::pipeline {

/// The value as it would be written in a graph definition: durations and byte counts as their text,
/// absent values as null.
nlohmann::ordered_json json_value(const ParameterValue& value);

/// Write JSON, with U+FFFD for bytes that are not UTF-8.
std::string json_text(const nlohmann::ordered_json& json, int indent = -1);

}  // namespace trib::pipeline
