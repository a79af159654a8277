// Metrics of a run: one JSON object a line in metrics.jsonl, the same columns in metrics.csv.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace trib::pipeline {

/// One row: names and values in order. A value that is not a number (NaN) is null in JSON and empty
/// in CSV.
using MetricsRow = std::vector<std::pair<std::string, double>>;

/// Appends rows and flushes after each, so that a run that dies keeps what it measured.
class MetricsWriter {
 public:
  /// `columns` are the CSV's columns, in order; every row may use a subset of them.
  MetricsWriter(const std::string& directory, std::vector<std::string> columns);
  ~MetricsWriter();
  void write(const MetricsRow& row);

 private:
  struct Files;
  std::vector<std::string> columns_;
  std::unique_ptr<Files> files_;
};

}  // namespace trib::pipeline
