// Metrics of a run: one JSON object a line in metrics.jsonl, the same columns in metrics.csv.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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
  /// `columns` are the CSV's columns, in order; every row may use a subset of them. With
  /// `resume_step` the files go on: rows of a "step" up to it stay, later ones, and lines that a
  /// killed run did not finish, are dropped. If metrics.csv has other columns (another mesh or
  /// evaluation may add some), it becomes metrics.N.csv with the first free N >= 1, and a new one
  /// begins; metrics.jsonl goes on in any case. Throws RuntimeError if a file cannot be written.
  MetricsWriter(const std::string& directory, std::vector<std::string> columns,
                std::optional<std::int64_t> resume_step = std::nullopt);
  ~MetricsWriter();
  void write(const MetricsRow& row);

 private:
  struct Files;
  std::string directory_;
  std::vector<std::string> columns_;
  std::unique_ptr<Files> files_;
};

}  // namespace trib::pipeline
