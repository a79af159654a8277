#include "pipeline/graph/diagnostics.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "ops/base/error.h"

namespace trib::pipeline {

std::string Problem::text() const {
  std::string line = mark.text() + ": ";
  if (!node.empty()) line += "node '" + node + "': ";
  return line + message;
}

void Diagnostics::add(SourceMark mark, std::string node, std::string message) {
  problems_.push_back({std::move(mark), std::move(node), std::move(message)});
}

std::vector<Problem> Diagnostics::sorted() const {
  std::vector<Problem> problems = problems_;
  const auto place = [](const Problem& p) {
    return std::tie(p.mark.file, p.mark.line, p.mark.column);
  };
  std::stable_sort(problems.begin(), problems.end(), [&](const Problem& a, const Problem& b) {
    const bool a_has_no_line = a.mark.line == 0, b_has_no_line = b.mark.line == 0;
    if (a_has_no_line != b_has_no_line) return b_has_no_line;
    return place(a) < place(b);
  });
  problems.erase(std::unique(problems.begin(), problems.end()), problems.end());
  return problems;
}

void Diagnostics::throw_if_any() const {
  if (empty()) return;
  std::string message;
  for (const Problem& problem : sorted()) {
    if (!message.empty()) message += "\n";
    message += problem.text();
  }
  throw ConfigError(message);
}

}  // namespace trib::pipeline
