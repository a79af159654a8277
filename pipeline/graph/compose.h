// One document out of many: a file, what it extends, and the --set options of the command line.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pipeline/graph/diagnostics.h"
#include "pipeline/graph/document.h"

namespace trib::pipeline {

struct ComposedDocument {
  DocumentValue root;              ///< without `extends`; its variables not yet put in
  std::vector<std::string> files;  ///< in the order merged, the file asked for last
};

/// Read `path` and the files it extends, merge them (mappings deeply, anything else by replacement,
/// later files win, null removes), then apply `sets`. Empty if a file could not be read.
std::optional<ComposedDocument> compose_document(const std::string& path,
                                                 const std::vector<std::string>& sets,
                                                 Diagnostics& diagnostics);

}  // namespace trib::pipeline
