// JSON Schema of graph definitions, for editors.
#pragma once

#include <string>

#include "pipeline/graph/stage_declaration.h"

namespace trib::pipeline {

/// Write the JSON Schema (draft-07) of graph definitions made of the catalog's stages. A value may
/// always be a "${variable}" or null. Missing parameters are left to `trib validate`: a file that
/// is extended need not be complete.
std::string json_schema(const StageCatalog& catalog);

}  // namespace trib::pipeline
