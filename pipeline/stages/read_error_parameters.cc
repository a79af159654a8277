#include "pipeline/stages/read_error_parameters.h"

#include <fmt/format.h>

namespace trib::pipeline {

std::vector<ParameterSpec> read_error_parameters(const std::string& item) {
  return {
      param::choice("on_error", {"fail", "skip"},
                    fmt::format("What to do about a damaged {}: end the run, or leave it out and "
                                "list it in the run folder's skipped.jsonl.",
                                item))
          .or_else("fail"),
      param::number("max_skipped",
                    fmt::format("With `on_error: skip`, more than these end the run: a fraction of "
                                "the {}s if below 1, rounded up, else a number.",
                                item))
          .at_least(0)
          .or_else(0.01),
      param::duration(
          "timeout",
          fmt::format("Longest time that reading one {} or opening a file may take; what "
                      "takes longer counts as damaged. 0s: any time.",
                      item))
          .at_least(0)
          .or_else("5m"),
  };
}

ReadErrors read_errors_of(const ParameterValues& parameters) {
  return {parameters.string("on_error") == "skip", parameters.number("max_skipped"),
          parameters.duration_seconds("timeout")};
}

}  // namespace trib::pipeline
