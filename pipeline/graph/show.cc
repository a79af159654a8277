#include "pipeline/graph/show.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "pipeline/graph/value_json.h"

namespace trib::pipeline {
namespace {

using Json = nlohmann::ordered_json;

/// Comments of one block are aligned, unless a value is longer than this.
constexpr std::size_t kCommentColumn = 48;

/// Text as YAML: plain where it cannot be mistaken for anything else, otherwise in double quotes
/// (JSON strings are YAML). What looks like a variable is kept from being one.
std::string yaml_text(std::string_view text) {
  std::string escaped;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with("${")) escaped += '$';
    escaped += text[i];
  }
  constexpr std::array<std::string_view, 8> kWords{"null", "true", "false", "yes",
                                                   "no",   "on",   "off",   "inf"};
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  const auto is_plain = [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '/' || c == '-';
  };
  std::string lower = escaped;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  const bool plain = !escaped.empty() && is_letter(escaped.front()) &&
                     std::all_of(escaped.begin(), escaped.end(), is_plain) &&
                     std::find(kWords.begin(), kWords.end(), lower) == kWords.end();
  return plain ? escaped : json_text(Json(escaped));
}

std::string yaml_list(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + yaml_text(item);
  return "[" + text + "]";
}

std::string yaml_value(const ParameterValue& value) {
  switch (value.spec.type) {
    case ParameterType::string:
    case ParameterType::choice:
      return yaml_text(std::get<std::string>(value.data));
    case ParameterType::strings:
      return yaml_list(std::get<std::vector<std::string>>(value.data));
    case ParameterType::size:
    case ParameterType::numbers:
      return json_text(json_value(value));
    default:
      return value.text;
  }
}

std::string commented(const std::string& line, std::string comment) {
  std::replace(comment.begin(), comment.end(), '\n', ' ');
  return fmt::format("{:<{}}  # {}\n", line, kCommentColumn, comment);
}

std::string yaml_lines(const ParameterValues& values, const std::string& indent) {
  std::string text;
  for (const ParameterValue& value : values.all()) {
    const bool absent = value.origin.kind == Origin::Kind::absent;
    const std::string line =
        absent ? indent + "# " + value.spec.name + ":"
               : fmt::format("{}{}: {}", indent, value.spec.name, yaml_value(value));
    text += commented(line, value.origin.text());
  }
  return text;
}

std::vector<std::string> input_names(const GraphDefinition& graph, const NodeDefinition& node) {
  std::vector<std::string> names;
  for (const std::size_t index : node.from) names.push_back(graph.nodes[index].name);
  return names;
}

Json json_values(const ParameterValues& values) {
  Json json = Json::object();
  for (const ParameterValue& value : values.all()) {
    json[value.spec.name] = {{"value", json_value(value)}, {"from", value.origin.text()}};
  }
  return json;
}

}  // namespace

std::string resolved_yaml(const GraphDefinition& graph) {
  std::string text = "# Resolved from";
  for (const std::string& file : graph.files) text += " " + file;
  text += "\n" + yaml_lines(graph.settings, "");
  text += "mesh:\n" + yaml_lines(graph.mesh, "  ");
  text += "ingest:\n" + yaml_lines(graph.ingest, "  ");
  text += "checkpoints:\n" + yaml_lines(graph.checkpoints, "  ");
  text += "weights:\n" + yaml_lines(graph.weights, "  ");
  text += "nodes:\n";
  for (const NodeDefinition& node : graph.nodes) {
    text += "  " + yaml_text(node.name) + ":\n";
    text += commented("    type: " + yaml_text(node.type()), node.type_origin.text());
    const auto inputs = input_names(graph, node);
    if (!inputs.empty()) {
      const std::string from = inputs.size() == 1 ? yaml_text(inputs[0]) : yaml_list(inputs);
      text += commented("    from: " + from, node.inputs_origin.text());
    }
    text += yaml_lines(node.parameters, "    ");
  }
  return text;
}

std::string resolved_json(const GraphDefinition& graph) {
  Json json;
  json["name"] = graph.name();
  json["files"] = graph.files;
  json["settings"] = json_values(graph.settings);
  json["mesh"] = json_values(graph.mesh);
  json["ingest"] = json_values(graph.ingest);
  json["checkpoints"] = json_values(graph.checkpoints);
  json["weights"] = json_values(graph.weights);
  json["nodes"] = Json::array();
  for (const NodeDefinition& node : graph.nodes) {
    json["nodes"].push_back({{"name", node.name},
                             {"type", node.type()},
                             {"from", input_names(graph, node)},
                             {"at", node.mark.text()},
                             {"parameters", json_values(node.parameters)}});
  }
  return json_text(json, 2) + "\n";
}

std::string graphviz(const GraphDefinition& graph) {
  const auto id = [](const std::string& name) { return json_text(Json(name)); };
  std::string text = fmt::format("digraph {} {{\n", id(graph.name()));
  text += "  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n";
  for (const NodeDefinition& node : graph.nodes) {
    text += fmt::format("  {} [label=\"{}\\n{}\"];\n", id(node.name), node.name, node.type());
  }
  for (const NodeDefinition& node : graph.nodes) {
    for (const std::string& input : input_names(graph, node)) {
      text += fmt::format("  {} -> {};\n", id(input), id(node.name));
    }
  }
  return text + "}\n";
}

}  // namespace trib::pipeline
