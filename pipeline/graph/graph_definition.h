// A graph definition: what is to be run, complete and checked, with nothing running yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/graph/diagnostics.h"
#include "pipeline/graph/parameter.h"
#include "pipeline/graph/source_mark.h"
#include "pipeline/graph/stage_declaration.h"

namespace trib::pipeline {

struct NodeDefinition {
  std::string name;
  const StageDeclaration* stage = nullptr;  ///< belongs to the catalog
  std::vector<std::size_t> from;            ///< indices into GraphDefinition::nodes, all smaller
  ParameterValues parameters;
  SourceMark mark;       ///< of the node's name
  Origin type_origin;    ///< of `type`
  Origin inputs_origin;  ///< of `from`

  const std::string& type() const { return stage->type; }
};

struct GraphDefinition {
  std::string file;                   ///< as given to load_graph
  std::vector<std::string> files;     ///< all files it was put together from, bases first
  ParameterValues settings;           ///< name, seed, runs, precision
  ParameterValues mesh;               ///< data, shard, tensor
  ParameterValues ingest;             ///< items, bytes, threads
  ParameterValues checkpoints;        ///< every, minutes, keep
  ParameterValues weights;            ///< from, match
  std::vector<NodeDefinition> nodes;  ///< in topological order, as near to the file's as can be
  std::vector<Problem> warnings;      ///< former names in use

  const std::string& name() const { return settings.string("name"); }
  std::uint64_t seed() const { return static_cast<std::uint64_t>(settings.integer("seed")); }
  /// Folder that holds the run's folder.
  const std::string& runs() const { return settings.string("runs"); }
  /// Product of the mesh axes.
  std::int64_t ranks() const;
  /// The node of that name, null if there is none.
  const NodeDefinition* find(std::string_view node_name) const;
};

/// Declarations of the graph's own keys: those at the top and those of its sections.
std::vector<ParameterSpec> settings_parameters(const std::string& default_name);
std::vector<ParameterSpec> mesh_parameters();
std::vector<ParameterSpec> ingest_parameters();
std::vector<ParameterSpec> checkpoints_parameters();
std::vector<ParameterSpec> weights_parameters();

/// Read a graph definition with all it extends, put in variables and the `sets` of the command line
/// ("tokens.dim=64", "vars.data=/scratch", "mesh.tensor=4", "seed=3"), and check it against the
/// catalog. Throws ConfigError listing every problem with its place.
GraphDefinition load_graph(const std::string& path, const std::vector<std::string>& sets,
                           const StageCatalog& catalog);

}  // namespace trib::pipeline
