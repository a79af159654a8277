// All mistakes of a graph definition, collected before any is reported.
#pragma once

#include <string>
#include <vector>

#include "pipeline/graph/source_mark.h"

namespace trib::pipeline {

struct Problem {
  SourceMark mark;
  std::string node;  ///< empty if the problem belongs to no node
  std::string message;

  /// "file:line:column: node 'tokens': parameter 'patchs' is unknown".
  std::string text() const;
  bool operator==(const Problem&) const = default;
};

class Diagnostics {
 public:
  void add(SourceMark mark, std::string node, std::string message);
  bool empty() const { return problems_.empty(); }
  /// Every problem once, by file, line and column; those of the command line come last.
  std::vector<Problem> sorted() const;
  /// Throw ConfigError listing all problems, one a line, unless there are none.
  void throw_if_any() const;

 private:
  std::vector<Problem> problems_;
};

}  // namespace trib::pipeline
