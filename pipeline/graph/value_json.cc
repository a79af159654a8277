#include "pipeline/graph/value_json.h"

#include <type_traits>
#include <variant>

namespace trib::pipeline {

nlohmann::ordered_json json_value(const ParameterValue& value) {
  const bool has_unit =
      value.spec.type == ParameterType::duration || value.spec.type == ParameterType::bytes;
  return std::visit(
      [&](const auto& data) -> nlohmann::ordered_json {
        if constexpr (std::is_same_v<std::decay_t<decltype(data)>, std::monostate>) {
          return nullptr;
        } else {
          return has_unit ? nlohmann::ordered_json(value.text) : nlohmann::ordered_json(data);
        }
      },
      value.data);
}

std::string json_text(const nlohmann::ordered_json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace trib::pipeline
