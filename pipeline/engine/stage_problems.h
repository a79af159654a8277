// Mistakes found while a graph is planned.
#pragma once

#include "ops/base/error.h"
#include "pipeline/graph/diagnostics.h"
#include "pipeline/graph/graph_definition.h"

namespace trib::pipeline {

/// Problems of stages, with the exit code they lead to.
class StageProblems {
 public:
  void add(const NodeDefinition& node, const Error& error) {
    diagnostics_.add(node.mark, node.name, error.what());
    only_data_ = only_data_ && error.exit_code() == ExitCode::data;
  }
  void throw_if_any() const {
    try {
      diagnostics_.throw_if_any();
    } catch (const ConfigError& error) {
      if (only_data_) throw DataError(error.what());
      throw;
    }
  }

 private:
  Diagnostics diagnostics_;
  bool only_data_ = true;
};

}  // namespace trib::pipeline
