#include "pipeline/observe/metrics.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::pipeline {
namespace {

// The shortest text that reads back as the same double; counts without a fraction.
std::string number(double value) {
  if (std::isfinite(value) && value == std::floor(value) && std::abs(value) < 1e15) {
    return fmt::format("{:.0f}", value);
  }
  return fmt::format("{}", value);
}

}  // namespace

struct MetricsWriter::Files {
  std::ofstream jsonl, csv;
};

MetricsWriter::MetricsWriter(const std::string& directory, std::vector<std::string> columns)
    : columns_(std::move(columns)), files_(std::make_unique<Files>()) {
  files_->jsonl.open(directory + "/metrics.jsonl");
  files_->csv.open(directory + "/metrics.csv");
  if (!files_->jsonl || !files_->csv) {
    throw RuntimeError(fmt::format("{}: cannot write metrics", directory));
  }
  files_->csv << fmt::format("{}\n", fmt::join(columns_, ",")) << std::flush;
}

MetricsWriter::~MetricsWriter() = default;

void MetricsWriter::write(const MetricsRow& row) {
  std::string json, csv;
  for (const std::string& column : columns_) {
    const auto at = std::find_if(row.begin(), row.end(),
                                 [&](const auto& entry) { return entry.first == column; });
    if (&column != &columns_.front()) csv += ',';
    if (at == row.end()) continue;
    // JSON has no infinities either; a diverged loss must not make the line unreadable.
    const bool finite = std::isfinite(at->second);
    json += fmt::format("{}\"{}\":{}", json.empty() ? "" : ",", column,
                        finite ? number(at->second) : "null");
    if (!std::isnan(at->second)) csv += number(at->second);
  }
  files_->jsonl << '{' << json << "}\n" << std::flush;
  files_->csv << csv << '\n' << std::flush;
  if (!files_->jsonl || !files_->csv) throw RuntimeError("metrics cannot be written: disk full?");
}

}  // namespace trib::pipeline
