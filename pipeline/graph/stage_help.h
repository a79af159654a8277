// What the declarations say of the stages, as text for a terminal and as Markdown.
#pragma once

#include <string>

#include "pipeline/graph/stage_declaration.h"

namespace trib::pipeline {

/// Write a line a stage: type and summary (`trib stages`).
std::string stage_table(const StageCatalog& catalog);

/// Write a stage's inputs and parameters with type, unit, range, default and sentence
/// (`trib options STAGE`).
std::string stage_options(const StageDeclaration& stage);

/// Write the part of docs/stages/TYPE.md that follows from the declaration.
std::string stage_markdown(const StageDeclaration& stage);

}  // namespace trib::pipeline
