#include "pipeline/graph/schema.h"

#include <span>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "pipeline/graph/bind_parameters.h"
#include "pipeline/graph/graph_definition.h"
#include "pipeline/graph/value_json.h"

namespace trib::pipeline {
namespace {

using Json = nlohmann::ordered_json;

Json with_range(Json schema, const ParameterSpec& spec) {
  if (spec.min) schema[spec.min_excluded ? "exclusiveMinimum" : "minimum"] = *spec.min;
  if (spec.max) schema[spec.max_excluded ? "exclusiveMaximum" : "maximum"] = *spec.max;
  return schema;
}

/// Every form in which a value of the type may be written.
std::vector<Json> written_forms(const ParameterSpec& spec) {
  // YAML reads "5", 5 and true apart, the parameters do not: text may look like anything.
  const Json text = {{"type", {"string", "number", "boolean"}}};
  const Json side = with_range({{"type", "integer"}}, spec);
  const Json number = with_range({{"type", "number"}}, spec);
  const Json variable = {{"$ref", "#/definitions/variable"}};
  const auto list_of = [&](const Json& item) -> Json {
    return {{"type", "array"}, {"items", {{"anyOf", {item, variable}}}}};
  };
  switch (spec.type) {
    case ParameterType::boolean:
      return {{{"type", "boolean"}}};
    case ParameterType::integer:
      return {side};
    case ParameterType::number:
      return {number};
    case ParameterType::string:
      return {text};
    case ParameterType::choice:
      return {{{"enum", spec.choices}}};
    case ParameterType::duration:
      return {{{"type", "string"}, {"pattern", "^([0-9.]+(ms|s|m|h|d))+$"}}};
    case ParameterType::bytes:
      return {{{"type", "string"}, {"pattern", "^[0-9.]+ *([kKmMgGtT][iI]?)?[bB]?$"}},
              with_range({{"type", "number"}}, spec)};
    case ParameterType::size: {
      Json pair = list_of(side);
      pair["minItems"] = pair["maxItems"] = 2;
      return {side, pair};
    }
    case ParameterType::strings:
      return {text, list_of(text)};
    case ParameterType::numbers:
      return {number, list_of(number)};
  }
  return {};
}

Json parameter_schema(const ParameterSpec& spec) {
  Json schema;
  schema["description"] = spec.sentence + (spec.unit.empty() ? "" : " In " + spec.unit + ".") +
                          (spec.required ? " Required." : "");
  if (spec.default_text) schema["default"] = json_value(default_value(spec));
  schema["anyOf"] = written_forms(spec);
  schema["anyOf"].push_back({{"$ref", "#/definitions/variable"}});
  return schema;
}

Json mapping_schema(std::span<const ParameterSpec> specs, Json other_properties = Json::object()) {
  Json properties = std::move(other_properties);
  for (const ParameterSpec& spec : specs) {
    properties[spec.name] = parameter_schema(spec);
    for (const std::string& former : spec.former_names) {
      properties[former] = parameter_schema(spec);
      properties[former]["description"] = "Now called " + spec.name + ".";
    }
  }
  return {{"type", {"object", "null"}},
          {"properties", std::move(properties)},
          {"additionalProperties", false}};
}

Json stage_schema(const StageDeclaration& stage, const std::string& type) {
  Json other;
  other["type"] = {{"const", type}, {"description", stage.summary}};
  if (stage.inputs != StageDeclaration::Inputs::none) {
    other["from"] = {{"$ref", "#/definitions/from"}};
  }
  return mapping_schema(stage.parameters, std::move(other));
}

/// A node's keys depend on its type. if/then rather than a choice among all stages, so that an
/// editor reports the wrong key and not "matches none of the stages".
Json node_schema(const StageCatalog& catalog) {
  Json types = Json::array(), rules = Json::array();
  const auto add = [&](const StageDeclaration& stage, const std::string& type) {
    types.push_back(type);
    const Json is_type = {{"properties", {{"type", {{"const", type}}}}}, {"required", {"type"}}};
    rules.push_back({{"if", is_type}, {"then", stage_schema(stage, type)}});
  };
  for (const StageDeclaration* stage : catalog.all()) {
    add(*stage, stage->type);
    for (const std::string& former : stage->former_types) add(*stage, former);
  }
  const Json variable = {{"$ref", "#/definitions/variable"}};
  Json type = {{"description", "Type of the stage."}};
  type["anyOf"] = Json::array({{{"enum", types}}, variable});
  return {{"type", {"object", "null"}}, {"properties", {{"type", type}}}, {"allOf", rules}};
}

Json one_or_many(const Json& item) {
  Json schema;
  schema["anyOf"] = Json::array({item, {{"type", "array"}, {"items", item}}});
  return schema;
}

}  // namespace

std::string json_schema(const StageCatalog& catalog) {
  const Json text = {{"type", "string"}};
  Json variable;
  variable["anyOf"] =
      Json::array({{{"type", "string"}, {"pattern", "\\$\\{.+\\}"}}, {{"type", "null"}}});
  Json from = one_or_many(text);
  from["anyOf"].push_back({{"type", "null"}});
  from["description"] = "Node or nodes whose output this node takes.";

  std::vector<ParameterSpec> settings = settings_parameters("");
  settings.front().default_text.reset();  // the file's name, which a schema cannot know
  Json other;
  other["extends"] = one_or_many(text);
  other["extends"]["description"] = "File or files this one builds on, relative to it.";
  other["vars"] = {{"type", {"object", "null"}},
                   {"description", "Values to use elsewhere as ${name}."}};
  other["mesh"] = mapping_schema(mesh_parameters());
  other["ingest"] = mapping_schema(ingest_parameters());
  other["checkpoints"] = mapping_schema(checkpoints_parameters());
  other["weights"] = mapping_schema(weights_parameters());
  other["nodes"] = {{"type", "object"},
                    {"additionalProperties", {{"$ref", "#/definitions/node"}}},
                    {"description", "The graph: name: {type, from, parameters}."}};

  Json schema;
  schema["$schema"] = "http://json-schema.org/draft-07/schema#";
  schema["title"] = "Tributary graph definition";
  schema.update(mapping_schema(settings, std::move(other)));
  schema["type"] = "object";
  schema["definitions"] = {{"variable", variable}, {"from", from}, {"node", node_schema(catalog)}};
  return json_text(schema, 2) + "\n";
}

}  // namespace trib::pipeline
