#include "pipeline/stages/open_readable.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "io/image_source.h"
#include "ops/base/error.h"

namespace trib::pipeline {
namespace {

/// What is left out, and whether it may be.
class LeftOut {
 public:
  LeftOut(std::vector<FileGroup> groups, const ReadErrors& errors)
      : groups_(std::move(groups)), errors_(errors), is_out_(groups_.size(), false) {}

  /// Leave out the group of a file.
  void add(const UnreadableFile& lost) {
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      const std::vector<std::string>& files = groups_[i].files;
      if (std::find(files.begin(), files.end(), lost.file) == files.end()) continue;
      if (!is_out_[i]) leave_out(i, lost.error);
      return;
    }
    throw DataError(lost.error);
  }

  void probe(const std::function<void(const FileGroup&)>& open_alone) {
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      if (is_out_[i]) continue;
      try {
        open_alone(groups_[i]);
      } catch (const DataError& error) {
        leave_out(i, error.what());
      }
    }
  }

  const std::vector<std::string>& files() const { return files_; }
  const std::vector<UnreadableFile>& groups() const { return out_; }

 private:
  void leave_out(std::size_t i, const std::string& error) {
    if (groups_.size() == 1) throw DataError(error);
    is_out_[i] = true;
    out_.push_back({groups_[i].name, error});
    files_.insert(files_.end(), groups_[i].files.begin(), groups_[i].files.end());
    const std::int64_t most = errors_.most_skipped(std::ssize(groups_));
    if (std::ssize(out_) <= most && out_.size() < groups_.size()) return;
    const char* what = groups_[i].files.size() > 1 ? "scenes" : "files";
    throw DataError(
        fmt::format("{} of {} {} cannot be opened, and max_skipped allows {}; the last is {}",
                    out_.size(), groups_.size(), what, most, error));
  }

  std::vector<FileGroup> groups_;
  const ReadErrors& errors_;
  std::vector<bool> is_out_;
  std::vector<std::string> files_;
  std::vector<UnreadableFile> out_;
};

}  // namespace

std::vector<FileGroup> groups_of_files(const std::vector<std::string>& patterns,
                                       const std::vector<std::string>& lost) {
  std::vector<FileGroup> groups;
  for (const std::string& file : io::expand_files(patterns, lost)) groups.push_back({file, {file}});
  return groups;
}

std::vector<std::string> files_without(const std::vector<std::string>& patterns,
                                       const std::vector<std::string>& without) {
  if (without.empty()) return patterns;
  std::vector<std::string> files = io::expand_files(patterns, without);
  std::erase_if(files, [&](const std::string& file) {
    return std::find(without.begin(), without.end(), file) != without.end();
  });
  return files;
}

std::vector<UnreadableFile> open_readable(const FileSet& set,
                                          const std::vector<UnreadableFile>& lost,
                                          const ReadErrors& errors) {
  std::optional<LeftOut> left_out;
  if (!lost.empty()) {
    std::vector<std::string> names;
    for (const UnreadableFile& file : lost) names.push_back(file.file);
    left_out.emplace(set.list(names), errors);
    for (const UnreadableFile& file : lost) left_out->add(file);
  }
  try {
    set.open(left_out ? left_out->files() : std::vector<std::string>());
    return left_out ? left_out->groups() : std::vector<UnreadableFile>();
  } catch (const DataError&) {
    if (!errors.skip) throw;
  }
  if (!left_out) left_out.emplace(set.list({}), errors);
  left_out->probe(set.open_alone);
  set.open(left_out->files());
  return left_out->groups();
}

}  // namespace trib::pipeline
