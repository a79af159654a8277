// Which samples each update used: the record that shows that none was used twice or left out.
//
// A run has samples/rank-NNNNN.csv of each rank that takes samples of its own:
// step,position,epoch,source,item,piece, a line for each sample, in the order of use. The source is
// the number of a reader in the graph's order, the item one of its images.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "pipeline/stage/flow.h"

namespace trib::pipeline {

/// Writes one rank's file. Not thread-safe.
class SampleLog {
 public:
  /// Appends to the file if there is one. Throws RuntimeError if it cannot be written.
  SampleLog(const std::string& run_folder, int rank);

  /// Add what update `step` uses, and flush. A step of several batches adds each.
  void add(std::int64_t step, const std::vector<SampleRequest>& requests);

 private:
  std::string path_;
  std::ofstream file_;
};

/// Drop what the logs of all ranks say of updates after `step`, and lines that a killed run did not
/// finish. One rank does it, before any opens its log. Throws RuntimeError.
void continue_sample_logs(const std::string& run_folder, std::int64_t step);

}  // namespace trib::pipeline
