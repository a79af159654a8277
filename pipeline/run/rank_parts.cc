#include "pipeline/run/rank_parts.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "pipeline/observe/run_folder.h"
#include "pipeline/observe/trace.h"

namespace trib::pipeline {
namespace {

std::string part(const std::string& folder, const char* name, int rank) {
  return fmt::format("{}/{}.rank{}.part", folder, name, rank);
}

// Make a file of those parts called `name` that there are. They go once all is written.
void join(const std::string& folder, const char* name, int ranks, const char* whole,
          const char* before, const char* between, const char* after) {
  std::vector<std::string> parts;
  for (int rank = 0; rank < ranks; ++rank) {
    std::string path = part(folder, name, rank);
    if (std::filesystem::exists(path)) parts.push_back(std::move(path));
  }
  if (parts.empty()) return;
  const std::string path = fmt::format("{}/{}", folder, whole);
  errno = 0;
  std::ofstream file(path);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    file << (i == 0 ? before : between);
    if (std::filesystem::file_size(parts[i]) > 0) file << std::ifstream(parts[i]).rdbuf();
  }
  file << after;
  file.close();
  if (!file) {
    throw RuntimeError(fmt::format("{}: cannot be written: {}", path, std::strerror(errno)));
  }
  for (const std::string& each : parts) std::filesystem::remove(each);
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
  join(folder, "trace", ranks, "trace.json", "[\n", ",\n", "\n]\n");
  join(folder, "skipped", ranks, "skipped.jsonl", "", "", "");
}

}  // namespace trib::pipeline
