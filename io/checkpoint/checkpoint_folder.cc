#include "io/checkpoint/checkpoint_folder.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "io/checkpoint/checkpoint.h"
#include "io/checkpoint/checkpoint_writer.h"
#include "io/pending_file.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-";
constexpr const char* kLatest = "latest";

/// Whether a name is that of a checkpoint, or of `latest`, with `ending` behind.
bool has_ending(std::string_view name, std::string_view ending) {
  if (!name.ends_with(ending)) return false;
  name.remove_suffix(ending.size());
  return name == kLatest || step_of(name);
}

/// Names in a folder that `wanted` accepts; none if there is no such folder.
std::vector<std::string> list_names(const std::string& folder,
                                    const std::function<bool(const fs::directory_entry&)>& wanted) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  if (error == std::errc::no_such_file_or_directory) return names;
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (wanted(*entry)) names.push_back(entry->path().filename().string());
  }
  if (error) throw RuntimeError(fmt::format("{}: cannot be listed: {}", folder, error.message()));
  return names;
}

void remove_endings(const std::string& folder, const std::vector<std::string_view>& endings) {
  const auto wanted = [&](const fs::directory_entry& entry) {
    const std::string name = entry.path().filename().string();
    return std::any_of(endings.begin(), endings.end(),
                       [&](std::string_view ending) { return has_ending(name, ending); });
  };
  for (const std::string& name : list_names(folder, wanted)) remove_folder(folder + "/" + name);
}

}  // namespace

std::string checkpoint_name(std::int64_t step) {
  return fmt::format("{}{}", kPrefix, step);
}

std::optional<std::int64_t> step_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return {};
  name.remove_prefix(kPrefix.size());
  std::int64_t step = 0;
  const auto [stop, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (error != std::errc() || stop != name.data() + name.size() || step < 0) return {};
  return name.front() == '-' ? std::nullopt : std::optional(step);
}

std::string rank_file_name(int rank) {
  return fmt::format("rank-{:05}.safetensors", rank);
}

void rename_path(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) {
    throw RuntimeError(
        fmt::format("{}: cannot be renamed to {}: {}", from, to, std::strerror(errno)));
  }
}

void remove_folder(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error && error != std::errc::no_such_file_or_directory) {
    throw RuntimeError(fmt::format("{}: cannot be removed: {}", path, error.message()));
  }
}

void set_damaged_aside(const std::string& path) {
  std::string aside = path + ".damaged";
  for (int number = 2; fs::exists(fs::symlink_status(aside)); ++number) {
    aside = fmt::format("{}.damaged-{}", path, number);
  }
  rename_path(path, aside);
}

void point_latest(const std::string& folder, const std::string& name) {
  const std::string latest = fmt::format("{}/{}", folder, kLatest);
  const std::string temporary = latest + ".tmp";
  ::unlink(temporary.c_str());
  if (::symlink(name.c_str(), temporary.c_str()) != 0) {
    throw RuntimeError(fmt::format("{}: cannot be created: {}", temporary, std::strerror(errno)));
  }
  rename_path(temporary, latest);
  sync_folder(folder);
}

std::vector<std::string> list_checkpoints(const std::string& folder) {
  std::vector<std::string> names = list_names(folder, [](const fs::directory_entry& entry) {
    std::error_code ignored;  // what cannot be looked at is no checkpoint
    return step_of(entry.path().filename().string()) && entry.is_directory(ignored);
  });
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    return std::pair(step_of(a), a) > std::pair(step_of(b), b);
  });
  for (std::string& name : names) name.insert(0, folder + "/");
  return names;
}

void prune_checkpoints(const std::string& folder, std::int64_t keep) {
  std::error_code no_link;
  const std::string latest = fs::read_symlink(fs::path(folder) / kLatest, no_link).filename();
  const std::vector<std::string> checkpoints = list_checkpoints(folder);
  for (std::size_t i = 0; i < checkpoints.size(); ++i) {
    const std::string& path = checkpoints[i];
    if (static_cast<std::int64_t>(i) < keep || fs::path(path).filename() == latest) continue;
    // It must not pass for a checkpoint once files of it are gone.
    remove_folder(path + ".removed");
    rename_path(path, path + ".removed");
  }
  if (!checkpoints.empty()) sync_folder(folder);
  remove_endings(folder, {".removed"});
}

void set_newer_aside(const std::string& checkpoint) {
  const fs::path path(checkpoint);
  const std::string folder = path.parent_path();
  const std::string name = path.filename();
  bool is_any_newer = false;
  for (const std::string& other : list_checkpoints(folder)) {
    if (step_of(fs::path(other).filename().string()) <= step_of(name)) continue;
    set_damaged_aside(other);
    is_any_newer = true;
  }
  if (is_any_newer) point_latest(folder, name);
}

void clean_checkpoints(const std::string& folder) {
  remove_endings(folder, {".tmp", ".removed"});
}

}  // namespace trib::io
