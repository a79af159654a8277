#include "pipeline/run/rank_parts.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "pipeline/observe/run_folder.h"
#include "pipeline/observe/trace.h"

namespace trib::pipeline {
namespace {

std::string part(const std::string& folder, const char* name, int rank) {
  return fmt::format("{}/{}.rank{}.part", folder, name, rank);
}

}  // namespace

void write_trace_part(const std::string& folder, int rank) {
  trace::write_events(part(folder, "trace", rank));
}

void write_skipped_part(const std::string& folder, int rank,
                        const std::vector<Ingest::Skipped>& skipped) {
  if (skipped.empty()) return;
  std::string lines;
  for (const Ingest::Skipped& one : skipped) {
    lines +=
        nlohmann::json{{"node", one.node}, {"item", one.item}, {"error", one.error}, {"rank", rank}}
            // Names of files may be any bytes.
            .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    lines += '\n';
  }
  write_text_file(part(folder, "skipped", rank), lines);
}

void join_rank_parts(const std::string& folder, int ranks) {
  std::ofstream trace_file, skipped_file;
  for (int rank = 0; rank < ranks; ++rank) {
    if (std::ifstream events(part(folder, "trace", rank)); events) {
      if (!trace_file.is_open()) {
        trace_file.open(folder + "/trace.json");
        trace_file << "[\n";
      } else {
        trace_file << ",\n";
      }
      trace_file << events.rdbuf();
    }
    if (std::ifstream lines(part(folder, "skipped", rank)); lines) {
      if (!skipped_file.is_open()) skipped_file.open(folder + "/skipped.jsonl");
      skipped_file << lines.rdbuf();
    }
    std::filesystem::remove(part(folder, "trace", rank));
    std::filesystem::remove(part(folder, "skipped", rank));
  }
  if (trace_file.is_open()) trace_file << "\n]\n";
}

}  // namespace trib::pipeline
