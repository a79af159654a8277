#include "pipeline/observe/keep_lines.h"

#include <charconv>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::pipeline {
namespace fs = std::filesystem;

void keep_lines(const std::string& path, const std::function<bool(const std::string&)>& keep) {
  if (!fs::exists(path)) return;
  const std::string aside = path + ".tmp";
  {
    std::ifstream from(path, std::ios::binary);
    std::ofstream to(aside, std::ios::binary);
    // A last line without its line break sets eof.
    for (std::string line; std::getline(from, line) && !from.eof();) {
      if (keep(line)) to << line << '\n';
    }
    if (!from.eof()) throw RuntimeError(fmt::format("{}: cannot read", path));
    to << std::flush;
    if (!to) throw RuntimeError(fmt::format("{}: cannot write: disk full?", aside));
  }
  std::error_code error;
  fs::rename(aside, path, error);
  if (error) throw RuntimeError(fmt::format("{}: cannot rename: {}", aside, error.message()));
}

std::optional<std::int64_t> leading_integer(const std::string& text) {
  std::int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || (stop != end && *stop != ',')) return std::nullopt;
  return value;
}

}  // namespace trib::pipeline
