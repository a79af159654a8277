#include "pipeline/observe/metrics.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "pipeline/observe/keep_lines.h"

namespace trib::pipeline {
namespace fs = std::filesystem;
namespace {

// The shortest text that reads back as the same double; counts without a fraction.
std::string number(double value) {
  if (std::isfinite(value) && value == std::floor(value) && std::abs(value) < 1e15) {
    return fmt::format("{:.0f}", value);
  }
  return fmt::format("{}", value);
}

void keep_json_rows(const std::string& path, std::int64_t last_step) {
  keep_lines(path, [&](const std::string& line) {
    const nlohmann::json row = nlohmann::json::parse(line, nullptr, false);
    if (!row.is_object()) return false;
    const auto step = row.find("step");
    return step != row.end() && step->is_number() &&
           step->get<double>() <= static_cast<double>(last_step);
  });
}

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells{""};
  for (const char c : line) {
    if (c == ',') {
      cells.emplace_back();
    } else {
      cells.back() += c;
    }
  }
  return cells;
}

void keep_csv_rows(const std::string& path, std::int64_t last_step) {
  std::vector<std::string> header;
  keep_lines(path, [&](const std::string& line) {
    const std::vector<std::string> cells = cells_of(line);
    if (header.empty()) {
      header = cells;
      return true;
    }
    const auto column =
        static_cast<std::size_t>(std::find(header.begin(), header.end(), "step") - header.begin());
    if (cells.size() != header.size() || column == header.size()) return false;
    const std::optional<std::int64_t> step = leading_integer(cells[column]);
    return step && *step <= last_step;
  });
}

std::string numbered_csv(const std::string& directory, int number) {
  return fmt::format("{}/metrics.{}.csv", directory, number);
}

void keep_rows(const std::string& directory, const std::string& header, std::int64_t last_step) {
  const std::string csv = directory + "/metrics.csv";
  keep_json_rows(directory + "/metrics.jsonl", last_step);
  keep_csv_rows(csv, last_step);
  int number = 1;
  for (; fs::exists(numbered_csv(directory, number)); ++number) {
    keep_csv_rows(numbered_csv(directory, number), last_step);
  }
  std::string found;
  std::getline(std::ifstream(csv), found);
  if (found.empty() || found == header) return;
  std::error_code error;
  fs::rename(csv, numbered_csv(directory, number), error);
  if (error) throw RuntimeError(fmt::format("{}: cannot rename: {}", csv, error.message()));
}

}  // namespace

struct MetricsWriter::Files {
  std::ofstream jsonl, csv;
};

MetricsWriter::MetricsWriter(const std::string& directory, std::vector<std::string> columns,
                             std::optional<std::int64_t> resume_step)
    : directory_(directory), columns_(std::move(columns)), files_(std::make_unique<Files>()) {
  const std::string header = fmt::format("{}", fmt::join(columns_, ","));
  const std::string csv = directory + "/metrics.csv";
  if (resume_step) keep_rows(directory, header, *resume_step);
  const bool goes_on = resume_step && fs::exists(csv) && fs::file_size(csv) > 0;
  const auto mode = std::ios::out | (resume_step ? std::ios::app : std::ios::trunc);
  files_->jsonl.open(directory + "/metrics.jsonl", mode);
  files_->csv.open(csv, mode);
  if (!files_->jsonl || !files_->csv) {
    throw RuntimeError(fmt::format("{}: cannot write metrics", directory));
  }
  if (!goes_on) files_->csv << header << '\n' << std::flush;
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
  errno = 0;
  files_->jsonl << '{' << json << "}\n" << std::flush;
  files_->csv << csv << '\n' << std::flush;
  if (files_->jsonl && files_->csv) return;
  throw RuntimeError(
      fmt::format("{}: metrics cannot be written: {}", directory_, std::strerror(errno)));
}

}  // namespace trib::pipeline
