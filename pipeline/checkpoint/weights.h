// Weights of an earlier training for a model: what fits, and how it gets there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/parameters.h"
#include "model/resize_position_embedding.h"
#include "model/state_piece.h"
#include "pipeline/checkpoint/weights_source.h"
#include "pipeline/graph/graph_definition.h"

namespace trib::pipeline {

/// What of a source fits a model. Names are in the order of the model's parameters; those that are
/// unexpected are in alphabetical order.
struct WeightsReport {
  /// A position embedding of another grid.
  struct Resized {
    std::string name;
    model::PositionGrid from, to;
    bool drops_class_token = false;  ///< whether the source has a row for it in front
  };
  struct Difference {
    std::string name;
    /// Of the model and of the source: "[16, 4]", with the type in front if it is not f32; empty if
    /// there is no such tensor.
    std::string expected, found;
  };

  std::string source;               ///< path of the checkpoint or file
  std::vector<std::string> loaded;  ///< same name, same shape
  std::vector<Resized> resized;     ///< to the grid of the model
  /// Not trained, and absent or of another shape in the source: the model keeps its own.
  std::vector<std::string> fixed;
  std::vector<Difference> missing;     ///< not in the source: keep their initial values
  std::vector<Difference> mismatched;  ///< of another shape or type: keep their initial values
  std::vector<Difference> unexpected;  ///< in the source alone

  /// Whether every parameter gets its value and nothing is left over.
  bool is_complete() const { return missing.empty() && mismatched.empty() && unexpected.empty(); }
  /// One line for each difference: "missing: NAME", ...; empty if there is none.
  std::string differences() const;
  /// A line that counts, and the differences below.
  std::string text() const;
  std::string to_json() const;
};

/// Compare a source with the parameters of a model.
WeightsReport match_weights(const WeightsSource& source, const model::ParameterTable& table);

/// The weights a graph asks for: its section `weights`.
class Weights {
 public:
  /// Opens the source and compares. Throws ConfigError listing all differences if the match is to
  /// be strict, DataError for what is missing or damaged, both with the place of `weights.from`.
  /// `table` must outlive this.
  Weights(const ParameterValues& section, const model::ParameterTable& table);

  /// Nothing if the graph asks for no weights. ConfigError if it does and has no model: `table` is
  /// null.
  static std::optional<Weights> of(const GraphDefinition& graph,
                                   const model::ParameterTable* table);

  const WeightsReport& report() const { return report_; }
  /// Fill in the values of pieces of the parameters, on whatever rank. What is missing in the
  /// source is left as it is. Throws DataError.
  void load(const std::vector<model::StatePiece>& pieces) const;

 private:
  void load_piece(const model::StatePiece& piece) const;
  Tensor resized(const WeightsReport::Resized& resize) const;

  const model::ParameterTable* table_;
  std::string place_;  // of weights.from
  WeightsSource source_;
  WeightsReport report_;
};

}  // namespace trib::pipeline
