// The stages a graph may name.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/graph/stage_declaration.h"
#include "pipeline/stage/stage.h"

namespace trib::pipeline {

using StageFactory = std::function<std::unique_ptr<Stage>(const StageContext&)>;

/// Declarations with their factories. Programs that add stages of their own register them here
/// before they load a graph.
class Registry : public StageCatalog {
 public:
  /// Throws RuntimeError if the type is taken.
  void add(StageDeclaration declaration, StageFactory factory);

  const StageDeclaration* find(std::string_view type) const override;
  std::vector<const StageDeclaration*> all() const override;
  /// Make a stage of a known type.
  std::unique_ptr<Stage> create(std::string_view type, const StageContext& context) const;

 private:
  struct Entry {
    StageDeclaration declaration;
    StageFactory factory;
  };
  const Entry* entry(std::string_view type) const;
  std::vector<std::unique_ptr<Entry>> entries_;
};

}  // namespace trib::pipeline
