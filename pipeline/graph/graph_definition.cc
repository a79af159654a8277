#include "pipeline/graph/graph_definition.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pipeline/graph/bind_parameters.h"
#include "pipeline/graph/compose.h"
#include "pipeline/graph/suggest.h"
#include "pipeline/graph/topology.h"
#include "pipeline/graph/variables.h"

namespace trib::pipeline {
namespace {

const std::vector<std::string> kSections{"vars",        "mesh",    "ingest",
                                         "checkpoints", "weights", "nodes"};

bool is_section(const std::string& key) {
  return std::find(kSections.begin(), kSections.end(), key) != kSections.end();
}

/// A node before its inputs are known to exist.
struct Draft {
  NodeDefinition node;
  std::vector<DocumentValue> inputs;  ///< scalars: the names given by `from`
};

class GraphReader {
 public:
  GraphReader(const ComposedDocument& document, const StageCatalog& catalog,
              Diagnostics& diagnostics)
      : document_(document.root),
        catalog_(catalog),
        diagnostics_(diagnostics),
        variables_(document.root.find("vars"), diagnostics) {
    graph_.files = document.files;
    graph_.file = document.files.back();
  }

  GraphDefinition read() {
    read_variables();
    read_settings();
    graph_.mesh = read_section("mesh", mesh_parameters());
    graph_.ingest = read_section("ingest", ingest_parameters());
    graph_.checkpoints = read_section("checkpoints", checkpoints_parameters());
    graph_.weights = read_section("weights", weights_parameters());
    read_nodes();
    connect();
    return std::move(graph_);
  }

 private:
  void report(const SourceMark& mark, const std::string& node, const std::string& message) {
    diagnostics_.add(mark, node, message);
  }

  void read_variables() {
    const DocumentValue* vars = document_.find("vars");
    if (vars != nullptr && !vars->is_mapping() && !vars->is_null()) {
      report(vars->mark, "", "'vars' is " + vars->shown() + "; expected a mapping");
    }
    variables_.check_all();
  }

  void read_settings() {
    DocumentValue top = document_;
    std::erase_if(top.entries, [](const auto& entry) { return is_section(entry.key); });
    top = variables_.resolve(top);
    std::vector<std::string> other_keys = kSections;
    other_keys.emplace_back("extends");
    const std::string stem = std::filesystem::path(graph_.file).stem().string();
    graph_.settings = bind_parameters(settings_parameters(stem), top, {"", "", other_keys},
                                      diagnostics_, graph_.warnings);
    check_name();
  }

  /// The name becomes a folder.
  void check_name() {
    if (!graph_.settings.has("name")) return;
    const std::string& name = graph_.name();
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
      report(graph_.settings.mark("name"), "",
             fmt::format("key 'name' is '{}'; expected a name that can be a folder's", name));
    }
  }

  ParameterValues read_section(const std::string& name, const std::vector<ParameterSpec>& specs) {
    DocumentValue section;
    section.mark = document_.mark;
    if (const DocumentValue* written = document_.find(name); written != nullptr) {
      section = variables_.resolve(*written);
    }
    return bind_parameters(specs, section, {"", name + ".", {}}, diagnostics_, graph_.warnings);
  }

  void read_nodes() {
    const DocumentValue* nodes = document_.find("nodes");
    if (nodes == nullptr || nodes->is_null()) {
      report(nodes == nullptr ? document_.mark : nodes->mark, "",
             "there are no nodes; expected 'nodes' with at least one");
      return;
    }
    if (!nodes->is_mapping()) {
      report(nodes->mark, "", "'nodes' is " + nodes->shown() + "; expected a mapping");
      return;
    }
    if (nodes->entries.empty()) report(nodes->mark, "", "'nodes' is empty; expected at least one");
    for (const auto& entry : nodes->entries) read_node(entry);
  }

  void read_node(const DocumentValue::Entry& entry) {
    Draft draft;
    draft.node.name = entry.key;
    draft.node.mark = entry.key_mark;
    check_node_name(entry);
    if (entry.value.is_mapping()) {
      DocumentValue body = variables_.resolve(entry.value, entry.key);
      body.mark = entry.key_mark;  // where a missing parameter is reported
      read_inputs(body, draft);
      read_type(body, draft);
    } else {
      report(
          entry.key_mark, entry.key,
          fmt::format("is {}; expected {{type: ..., from: ..., parameters}}", entry.value.shown()));
    }
    drafts_.push_back(std::move(draft));
  }

  /// Names appear in --set paths and beside the sections' names there.
  void check_node_name(const DocumentValue::Entry& entry) {
    const std::string& name = entry.key;
    const auto letter = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '_' || c == '-';
    };
    if (name.empty() || !std::all_of(name.begin(), name.end(), letter)) {
      report(entry.key_mark, name,
             "expected a name of letters a-z and A-Z, digits, underscores and hyphens");
    } else if (is_section(name)) {
      report(entry.key_mark, name, "a node cannot have the name of a section");
    }
  }

  void read_type(const DocumentValue& body, Draft& draft) {
    const std::string& node = draft.node.name;
    const DocumentValue* type = body.find("type");
    if (type == nullptr || type->is_null()) {
      report(body.mark, node, "'type' is missing; expected the type of a stage");
      return;
    }
    if (type->broken) return;
    if (!type->is_scalar()) {
      report(type->mark, node, "'type' is " + type->shown() + "; expected the type of a stage");
      return;
    }
    const StageDeclaration* stage = catalog_.find(type->text);
    if (stage == nullptr) {
      std::vector<std::string> types;
      for (const StageDeclaration* known : catalog_.all()) types.push_back(known->type);
      report(
          type->mark, node,
          fmt::format("stage type '{}' is unknown{}", type->text, did_you_mean(type->text, types)));
      return;
    }
    if (stage->type != type->text) {
      graph_.warnings.push_back(
          {type->mark, node,
           fmt::format("stage type '{}' is now called '{}'", type->text, stage->type)});
    }
    draft.node.stage = stage;
    draft.node.type_origin = {Origin::Kind::written, type->mark, type->through};
    DocumentValue parameters = body;
    std::erase_if(parameters.entries,
                  [](const auto& entry) { return entry.key == "type" || entry.key == "from"; });
    draft.node.parameters = bind_parameters(
        stage->parameters, parameters, {node, "", {"type", "from"}}, diagnostics_, graph_.warnings);
    check_input_count(body, draft);
  }

  void read_inputs(const DocumentValue& body, Draft& draft) {
    const std::string& node = draft.node.name;
    const DocumentValue* from = body.find("from");
    draft.node.inputs_origin.mark = body.mark;
    if (from == nullptr || from->is_null() || from->broken) return;
    draft.node.inputs_origin = {Origin::Kind::written, from->mark, from->through};
    const std::vector<DocumentValue> names =
        from->is_sequence() ? from->items : std::vector<DocumentValue>{*from};
    for (const DocumentValue& name : names) {
      const auto same = [&](const DocumentValue& other) { return other.text == name.text; };
      if (!name.is_scalar()) {
        report(name.mark, node,
               "'from' is " + name.shown() + "; expected a node or a list of nodes");
      } else if (std::any_of(draft.inputs.begin(), draft.inputs.end(), same)) {
        report(name.mark, node, fmt::format("'from' names node '{}' twice", name.text));
      } else {
        draft.inputs.push_back(name);
      }
    }
  }

  void check_input_count(const DocumentValue& body, const Draft& draft) {
    using Inputs = StageDeclaration::Inputs;
    const StageDeclaration& stage = *draft.node.stage;
    const DocumentValue* from = body.find("from");
    const bool unreadable =
        from != nullptr && (from->broken || from->is_mapping());  // has been reported
    if (unreadable) return;
    const SourceMark& mark = draft.node.inputs_origin.mark;
    const std::size_t count = draft.inputs.size();
    if (stage.inputs == Inputs::none && count > 0) {
      report(mark, draft.node.name,
             fmt::format("stage {} takes no input; remove 'from'", stage.type));
    } else if (stage.inputs != Inputs::none && count == 0) {
      report(mark, draft.node.name,
             fmt::format("'from' is missing; stage {} takes {}", stage.type,
                         stage.inputs == Inputs::one ? "one input" : "one or more inputs"));
    } else if (stage.inputs == Inputs::one && count > 1) {
      report(mark, draft.node.name,
             fmt::format("'from' names {} nodes; stage {} takes one input", count, stage.type));
    }
  }

  /// Resolve the names given by `from`, sort the nodes and move them into the graph.
  void connect() {
    std::vector<std::vector<std::size_t>> inputs;
    for (const Draft& draft : drafts_) inputs.push_back(find_inputs(draft));
    const Topology topology = sort_topologically(inputs);
    for (const auto& cycle : topology.cycles) report_cycle(cycle);
    if (!diagnostics_.empty()) return;
    std::vector<std::size_t> position(drafts_.size());
    for (const std::size_t index : topology.order) {
      NodeDefinition& node = drafts_[index].node;
      for (const std::size_t input : inputs[index]) node.from.push_back(position[input]);
      position[index] = graph_.nodes.size();
      graph_.nodes.push_back(std::move(node));
    }
  }

  std::vector<std::size_t> find_inputs(const Draft& draft) {
    std::vector<std::size_t> found;
    for (const DocumentValue& input : draft.inputs) {
      if (input.broken) continue;
      if (input.text == draft.node.name) {
        report(input.mark, draft.node.name, "takes its own output as input");
        continue;
      }
      const auto other = std::find_if(drafts_.begin(), drafts_.end(), [&](const Draft& candidate) {
        return candidate.node.name == input.text;
      });
      if (other != drafts_.end()) {
        found.push_back(static_cast<std::size_t>(other - drafts_.begin()));
        continue;
      }
      std::vector<std::string> names;
      for (const Draft& candidate : drafts_) {
        if (candidate.node.name != draft.node.name) names.push_back(candidate.node.name);
      }
      report(input.mark, draft.node.name,
             fmt::format("'from' names node '{}', which does not exist{}", input.text,
                         did_you_mean(input.text, names)));
    }
    return found;
  }

  void report_cycle(const std::vector<std::size_t>& cycle) {
    std::string path;
    for (const std::size_t index : cycle) path += drafts_[index].node.name + " -> ";
    const NodeDefinition& first = drafts_[cycle.front()].node;
    report(first.inputs_origin.mark, first.name,
           fmt::format("is part of a cycle: {}{}", path, first.name));
  }

  const DocumentValue& document_;
  const StageCatalog& catalog_;
  Diagnostics& diagnostics_;
  Variables variables_;
  std::vector<Draft> drafts_;
  GraphDefinition graph_;
};

}  // namespace

std::int64_t GraphDefinition::ranks() const {
  return mesh.integer("data") * mesh.integer("shard") * mesh.integer("tensor");
}

const NodeDefinition* GraphDefinition::find(std::string_view node_name) const {
  const auto found = std::find_if(nodes.begin(), nodes.end(), [&](const NodeDefinition& node) {
    return node.name == node_name;
  });
  return found == nodes.end() ? nullptr : &*found;
}

std::vector<ParameterSpec> settings_parameters(const std::string& default_name) {
  return {
      param::string("name", "Name of the experiment and of its run folder.").or_else(default_name),
      param::integer("seed", "Seed of every random number of the run.").at_least(0).or_else(0),
      param::string("runs", "Folder in which the run's folder is made.").or_else("runs"),
      param::choice("precision", {"fp32", "bf16"},
                    "Numbers that the products of transformer and heads read. bf16: rounded copies "
                    "of weights and activations; weights, optimizer and sums stay fp32.")
          .or_else("fp32"),
  };
}

std::vector<ParameterSpec> mesh_parameters() {
  // The bound keeps the product of the axes far inside 64 bits.
  constexpr double kMaxAxis = 1'000'000;
  return {
      param::integer("data", "Copies of the model, each trained on its own share of the batches.")
          .unit_is("ranks")
          .between(1, kMaxAxis)
          .or_else(1),
      param::integer("shard", "Ranks over which parameters and optimizer state are sharded.")
          .unit_is("ranks")
          .between(1, kMaxAxis)
          .or_else(1),
      param::integer("tensor", "Ranks over which channels and attention heads are split.")
          .unit_is("ranks")
          .between(1, kMaxAxis)
          .or_else(1),
  };
}

std::vector<ParameterSpec> ingest_parameters() {
  return {
      param::integer("threads", "Threads that read and decode files.").at_least(1).or_else(2),
      param::integer("items",
                     "Samples that may be under way at once; 0 chooses from the batch size.")
          .unit_is("samples")
          .at_least(0)
          .or_else(0),
      param::bytes("bytes", "Memory that samples under way and caches of decoded chunks may hold.")
          .at_least(1)
          .or_else("1GB"),
  };
}

std::vector<ParameterSpec> checkpoints_parameters() {
  return {
      param::integer("every", "Steps from one checkpoint to the next; 0 does not count steps.")
          .unit_is("steps")
          .at_least(0)
          .or_else(0),
      param::number("minutes", "Minutes from one checkpoint to the next; 0 does not count them.")
          .unit_is("minutes")
          .at_least(0)
          .or_else(30),
      param::integer("keep", "Checkpoints that stay, the newest; 0 writes none at all.")
          .at_least(0)
          .or_else(3),
  };
}

std::vector<ParameterSpec> weights_parameters() {
  return {
      param::string("from",
                    "Checkpoint, folder of a run (its newest checkpoint) or safetensors file whose "
                    "weights the model starts from."),
      param::choice("match", {"strict", "partial"},
                    "Whether the weights must fit the model exactly, or those that fit are taken.")
          .or_else("strict"),
  };
}

GraphDefinition load_graph(const std::string& path, const std::vector<std::string>& sets,
                           const StageCatalog& catalog) {
  Diagnostics diagnostics;
  const auto document = compose_document(path, sets, diagnostics);
  if (!document) diagnostics.throw_if_any();
  GraphDefinition graph = GraphReader(*document, catalog, diagnostics).read();
  diagnostics.throw_if_any();
  return graph;
}

}  // namespace trib::pipeline
