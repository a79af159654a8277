#include "pipeline/stage/registry.h"

#include <algorithm>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::pipeline {

const Registry::Entry* Registry::entry(std::string_view type) const {
  const auto at = std::find_if(entries_.begin(), entries_.end(),
                               [&](const auto& e) { return e->declaration.type == type; });
  return at == entries_.end() ? nullptr : at->get();
}

void Registry::add(StageDeclaration declaration, StageFactory factory) {
  if (entry(declaration.type) != nullptr) {
    throw RuntimeError(fmt::format("stage type '{}' is registered twice", declaration.type));
  }
  entries_.push_back(std::make_unique<Entry>(Entry{std::move(declaration), std::move(factory)}));
}

const StageDeclaration* Registry::find(std::string_view type) const {
  const Entry* found = entry(type);
  return found == nullptr ? nullptr : &found->declaration;
}

std::vector<const StageDeclaration*> Registry::all() const {
  std::vector<const StageDeclaration*> declarations;
  for (const auto& e : entries_) declarations.push_back(&e->declaration);
  return declarations;
}

std::unique_ptr<Stage> Registry::create(std::string_view type, const StageContext& context) const {
  const Entry* found = entry(type);
  if (found == nullptr) throw RuntimeError(fmt::format("no stage type '{}'", type));
  return found->factory(context);
}

}  // namespace trib::pipeline
