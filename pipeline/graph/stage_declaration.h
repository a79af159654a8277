// What a stage says of itself before it is made: type, inputs, parameters.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pipeline/graph/parameter.h"

namespace trib::pipeline {

struct StageDeclaration {
  enum class Inputs { none, one, many };

  std::string type;     ///< "read.cube", "model.encoder"
  std::string summary;  ///< one sentence with a full stop
  Inputs inputs = Inputs::one;
  std::vector<ParameterSpec> parameters;
  std::vector<std::string> former_types;  ///< still understood, with a warning
};

/// What a graph definition needs to know of the stages there are.
class StageCatalog {
 public:
  virtual ~StageCatalog() = default;
  /// The declaration of a type or former type, null if there is none. Stays valid with the catalog.
  virtual const StageDeclaration* find(std::string_view type) const = 0;
  /// All declarations in alphabetical order of their types.
  virtual std::vector<const StageDeclaration*> all() const = 0;
};

}  // namespace trib::pipeline
