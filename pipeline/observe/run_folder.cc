#include "pipeline/observe/run_folder.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::pipeline {
namespace fs = std::filesystem;
namespace {

constexpr std::array<const char*, 4> kMadeFirst{"checkpoints", "attempts", "graph.yaml",
                                                "graph.yaml.tmp"};

// What a run makes first; one of them is there whenever a run was killed.
bool holds_run(const fs::path& directory) {
  return std::any_of(kMadeFirst.begin(), kMadeFirst.end(),
                     [&](const char* name) { return fs::exists(directory / name); });
}

void move_files(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const bool is_metrics = entry.path().filename().string().starts_with("metrics.");
    if (entry.is_regular_file() && !is_metrics) files.push_back(entry.path());
  }
  if (files.empty()) return;
  const std::string attempts = (directory / "attempts").string();
  create_folder(attempts);
  int number = 1;
  while (fs::exists(fmt::format("{}/{}", attempts, number))) ++number;
  const fs::path to = fmt::format("{}/{}", attempts, number);
  create_folder(to.string());
  for (const fs::path& file : files) {
    std::error_code error;
    fs::rename(file, to / file.filename(), error);
    if (error) {
      throw RuntimeError(
          fmt::format("{}: cannot move to {}: {}", file.string(), to.string(), error.message()));
    }
  }
}

}  // namespace

void create_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw RuntimeError(fmt::format("{}: cannot create: {}", path, error.message()));
}

std::string create_run_folder(const std::string& root, const std::string& name) {
  create_folder(root);
  for (int number = 1;; ++number) {
    std::string path = fmt::format("{}/{}", root, name);
    if (number > 1) path += fmt::format("-{}", number);
    std::error_code error;
    if (fs::create_directory(path, error)) return path;
    if (error) throw RuntimeError(fmt::format("{}: cannot create: {}", path, error.message()));
  }
}

std::string create_run_folder_at(const std::string& directory) {
  std::error_code unknown;  // which making it tells
  if (fs::exists(directory, unknown) && !fs::is_empty(directory, unknown)) {
    throw ConfigError(fmt::format("{}: not empty; a run needs a folder of its own", directory));
  }
  create_folder(directory);
  return directory;
}

std::string find_run_folder(const std::string& root, const std::string& name) {
  std::string found;
  long highest = 0;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(root, error)) {
    const std::string folder = entry.path().filename().string();
    long number = 1;
    if (folder != name) {
      if (!folder.starts_with(name + "-")) continue;
      const std::string digits = folder.substr(name.size() + 1);
      const char* end = digits.data() + digits.size();
      const auto [stop, problem] = std::from_chars(digits.data(), end, number);
      if (problem != std::errc() || stop != end || number < 2) continue;
    }
    if (number <= highest || !fs::is_directory(entry.path() / "checkpoints")) continue;
    highest = number;
    found = fmt::format("{}/{}", root, folder);
  }
  return found;
}

void continue_run_folder(const std::string& directory, bool has_checkpoint) {
  create_folder(directory);
  if (fs::is_empty(directory)) return;
  if (!holds_run(directory)) {
    throw ConfigError(fmt::format("{}: neither empty nor the folder of a run", directory));
  }
  if (!has_checkpoint && fs::exists(directory + "/summary.json")) {
    throw ConfigError(fmt::format(
        "{}: the run there has come to its end and left no checkpoint to go on from", directory));
  }
  move_files(directory);
}

void write_text_file(const std::string& path, const std::string& text) {
  const std::string aside = path + ".tmp";
  {
    errno = 0;
    std::ofstream file(aside);
    file << text << std::flush;
    if (!file) {
      throw RuntimeError(fmt::format("{}: cannot be written: {}", path, std::strerror(errno)));
    }
  }
  std::error_code error;
  fs::rename(aside, path, error);
  if (error) throw RuntimeError(fmt::format("{}: cannot rename: {}", path, error.message()));
}

}  // namespace trib::pipeline
