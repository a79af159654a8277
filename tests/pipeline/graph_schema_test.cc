#include <cstddef>
#include <regex>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "pipeline/graph/schema.h"
#include "tests/pipeline/graph_fixture.h"

namespace trib::pipeline::test {
namespace {

using Json = nlohmann::json;

/// The keywords of draft-07 that the schema uses; an unknown one is a failure.
class Validator {
 public:
  explicit Validator(Json root) : root_(std::move(root)) {}
  bool accepts(const Json& value) const { return accepts(root_, value); }

 private:
  bool accepts(const Json& schema, const Json& value) const {
    if (schema.is_boolean()) return schema.get<bool>();
    for (const auto& [keyword, rule] : schema.items()) {
      if (!holds(schema, keyword, rule, value)) return false;
    }
    return true;
  }

  static bool has_type(const std::string& type, const Json& value) {
    if (type == "integer") return value.is_number_integer();
    if (type == "number") return value.is_number();
    return type == value.type_name();
  }

  bool holds(const Json& schema, const std::string& keyword, const Json& rule,
             const Json& value) const {
    const auto matches = [&](const Json& sub) { return accepts(sub, value); };
    if (keyword == "$ref") {
      return accepts(root_.at(Json::json_pointer(rule.get<std::string>().substr(1))), value);
    }
    if (keyword == "type") {
      const Json types = rule.is_array() ? rule : Json::array({rule});
      return std::any_of(types.begin(), types.end(),
                         [&](const Json& type) { return has_type(type, value); });
    }
    if (keyword == "const") return value == rule;
    if (keyword == "enum") return std::find(rule.begin(), rule.end(), value) != rule.end();
    if (keyword == "anyOf") return std::any_of(rule.begin(), rule.end(), matches);
    if (keyword == "allOf") return std::all_of(rule.begin(), rule.end(), matches);
    if (keyword == "if") return !matches(rule) || matches(schema.at("then"));
    if (keyword == "pattern") {
      return !value.is_string() ||
             std::regex_search(value.get<std::string>(), std::regex(rule.get<std::string>()));
    }
    if (keyword == "minimum") return !value.is_number() || value >= rule;
    if (keyword == "maximum") return !value.is_number() || value <= rule;
    if (keyword == "exclusiveMinimum") return !value.is_number() || value > rule;
    if (keyword == "exclusiveMaximum") return !value.is_number() || value < rule;
    if (keyword == "minItems") return !value.is_array() || value.size() >= rule;
    if (keyword == "maxItems") return !value.is_array() || value.size() <= rule;
    if (keyword == "items") {
      return !value.is_array() || std::all_of(value.begin(), value.end(), [&](const Json& item) {
        return accepts(rule, item);
      });
    }
    if (keyword == "required") {
      return !value.is_object() || std::all_of(rule.begin(), rule.end(), [&](const Json& key) {
        return value.contains(key.get<std::string>());
      });
    }
    if (keyword == "properties") return properties_hold(rule, value);
    if (keyword == "additionalProperties") return others_hold(schema, rule, value);
    for (const char* note : {"$schema", "title", "description", "default", "then", "definitions"}) {
      if (keyword == note) return true;
    }
    ADD_FAILURE() << "keyword " << keyword;
    return false;
  }

  bool properties_hold(const Json& rules, const Json& value) const {
    if (!value.is_object()) return true;
    for (const auto& [key, rule] : rules.items()) {
      if (value.contains(key) && !accepts(rule, value.at(key))) return false;
    }
    return true;
  }

  bool others_hold(const Json& schema, const Json& rule, const Json& value) const {
    if (!value.is_object()) return true;
    const Json known = schema.value("properties", Json::object());
    for (const auto& [key, child] : value.items()) {
      if (!known.contains(key) && !accepts(rule, child)) return false;
    }
    return true;
  }

  Json root_;
};

class GraphSchemaTest : public GraphTest {
 protected:
  Json schema_ = Json::parse(json_schema(catalog_));
  Validator validator_{schema_};

  bool accepts(const std::string& json) const { return validator_.accepts(Json::parse(json)); }
  bool accepts_node(const std::string& json) const {
    return accepts(R"({"nodes": {"n": )" + json + "}}");
  }
};

TEST_F(GraphSchemaTest, HoldsTheDeclarations) {
  EXPECT_EQ(schema_["$schema"], "http://json-schema.org/draft-07/schema#");
  EXPECT_EQ(schema_["additionalProperties"], false);
  const Json& rules = schema_["definitions"]["node"]["allOf"];
  ASSERT_EQ(rules.size(), 5U);  // four stages and one former type
  EXPECT_EQ(rules[1]["if"]["properties"]["type"]["const"], "join");
  const Json& tokenize = rules[2]["then"];
  EXPECT_EQ(tokenize["additionalProperties"], false);
  EXPECT_EQ(tokenize["properties"]["type"]["const"], "model.tokenize");
  const Json& patch = tokenize["properties"]["patch"];
  EXPECT_EQ(patch["description"], "Side of a square patch. In pixels.");
  EXPECT_EQ(patch["default"], 4);
  EXPECT_EQ(patch["anyOf"][0], Json::parse(R"({"type": "integer", "minimum": 1, "maximum": 64})"));
  EXPECT_EQ(tokenize["properties"]["kind"]["anyOf"][0]["enum"],
            Json({"linear", "cross_attention"}));
  const Json& dropout = tokenize["properties"]["dropout"]["anyOf"][0];
  EXPECT_EQ(dropout["exclusiveMaximum"], 1);
  EXPECT_EQ(rules[4]["then"]["properties"]["every"]["default"], "6h");
  EXPECT_FALSE(rules[4]["then"]["properties"].contains("from"));
}

TEST_F(GraphSchemaTest, AcceptsGoodGraphs) {
  EXPECT_TRUE(accepts(R"({
    "name": "small", "seed": 7, "extends": "base.yaml", "mesh": {"data": 2, "tensor": 3},
    "vars": {"dim": 64}, "ingest": {"items": 32, "bytes": "256MB"},
    "checkpoints": {"every": 100, "minutes": 0.5, "keep": 0},
    "weights": {"from": "runs/a", "match": "partial"},
    "nodes": {
      "tokens": {"type": "model.tokenize", "from": "batches", "patch": 8, "dim": "${dim}"},
      "cubes": {"type": "read.cube", "files": "a/*.h5", "window": [32, 48], "every": "90m"},
      "batches": {"type": "batch", "from": ["cubes"], "size": 16},
      "gone": null, "changed": {"size": 3}}})"));
  EXPECT_TRUE(accepts_node(R"({"type": "tokenize", "patch_size": 8, "fused": false})"));
  EXPECT_TRUE(accepts_node(R"({"type": "read.cube", "files": ["a", 1], "dataset": 2, "window": 8,
                               "cache": 4096, "scale": [0.5, "${x}"], "every": null})"));
}

TEST_F(GraphSchemaTest, RefusesWhatTheReaderRefuses) {
  for (const char* graph : {R"({"nodess": {}})", R"({"seed": -1})", R"({"mesh": {"data": 0}})",
                            R"({"mesh": {"tensr": 1}})", R"({"ingest": {"bytes": "many"}})",
                            R"({"checkpoints": {"every": -1}})", R"({"checkpoints": {"hours": 1}})",
                            R"({"weights": {"match": "loose"}})", R"({"weights": {"to": "a"}})",
                            R"({"nodes": []})", R"([])", R"({"extends": 3})"}) {
    EXPECT_FALSE(accepts(graph)) << graph;
  }
  for (const char* node :
       {R"({"type": "read.cub"})", R"({"type": "join", "size": 1})",
        R"({"type": "read.cube", "from": "x"})", R"({"type": "batch", "size": 0})",
        R"({"type": "batch", "size": 1.5})", R"({"type": "model.tokenize", "dropout": 1})",
        R"({"type": "model.tokenize", "kind": "linaer"})",
        R"({"type": "model.tokenize", "fused": 1})", R"({"type": "read.cube", "window": [1]})",
        R"({"type": "read.cube", "every": "6"})", R"({"type": "read.cube", "scale": [0]})"}) {
    EXPECT_FALSE(accepts_node(node)) << node;
  }
}

}  // namespace
}  // namespace trib::pipeline::test
