#include "pipeline/observe/sample_log.h"

#include <filesystem>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "pipeline/observe/keep_lines.h"

namespace trib::pipeline {
namespace fs = std::filesystem;
namespace {

constexpr const char* kHeader = "step,position,epoch,source,item,piece";

std::string folder_of(const std::string& run_folder) {
  return run_folder + "/samples";
}

}  // namespace

SampleLog::SampleLog(const std::string& run_folder, int rank)
    : path_(fmt::format("{}/rank-{:05}.csv", folder_of(run_folder), rank)) {
  std::error_code error;
  fs::create_directories(folder_of(run_folder), error);
  if (error) {
    throw RuntimeError(
        fmt::format("{}: cannot create: {}", folder_of(run_folder), error.message()));
  }
  const bool goes_on = fs::exists(path_) && fs::file_size(path_) > 0;
  file_.open(path_, std::ios::out | std::ios::app);
  if (!goes_on) file_ << kHeader << '\n' << std::flush;
  if (!file_) throw RuntimeError(fmt::format("{}: cannot write", path_));
}

void SampleLog::add(std::int64_t step, const std::vector<SampleRequest>& requests) {
  std::string lines;
  for (const SampleRequest& r : requests) {
    lines +=
        fmt::format("{},{},{},{},{},{}\n", step, r.position, r.epoch, r.source, r.item, r.piece);
  }
  file_ << lines << std::flush;
  if (!file_) throw RuntimeError(fmt::format("{}: cannot write: disk full?", path_));
}

void continue_sample_logs(const std::string& run_folder, std::int64_t step) {
  const std::string folder = folder_of(run_folder);
  if (!fs::exists(folder)) return;
  std::vector<std::string> logs;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".csv") logs.push_back(entry.path().string());
  }
  for (const std::string& log : logs) {
    keep_lines(log, [&](const std::string& line) {
      if (line == kHeader) return true;
      const std::optional<std::int64_t> of = leading_integer(line);
      return of && *of <= step;
    });
  }
}

}  // namespace trib::pipeline
