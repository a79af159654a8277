#include "pipeline/observe/run_folder.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::pipeline {
namespace fs = std::filesystem;
namespace {

void create_directories(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw RuntimeError(fmt::format("{}: cannot create: {}", path, error.message()));
}

}  // namespace

std::string create_run_folder(const std::string& root, const std::string& name) {
  create_directories(root);
  for (int number = 1;; ++number) {
    std::string path = fmt::format("{}/{}", root, name);
    if (number > 1) path += fmt::format("-{}", number);
    std::error_code error;
    if (fs::create_directory(path, error)) return path;
    if (error) throw RuntimeError(fmt::format("{}: cannot create: {}", path, error.message()));
  }
}

std::string create_run_folder_at(const std::string& directory) {
  if (fs::exists(directory) && !fs::is_empty(directory)) {
    throw ConfigError(fmt::format("{}: not empty; a run needs a folder of its own", directory));
  }
  create_directories(directory);
  return directory;
}

void write_text_file(const std::string& path, const std::string& text) {
  const std::string aside = path + ".tmp";
  {
    std::ofstream file(aside);
    file << text << std::flush;
    if (!file) throw RuntimeError(fmt::format("{}: cannot write", aside));
  }
  std::error_code error;
  fs::rename(aside, path, error);
  if (error) throw RuntimeError(fmt::format("{}: cannot rename: {}", path, error.message()));
}

}  // namespace trib::pipeline
