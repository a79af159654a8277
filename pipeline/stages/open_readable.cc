#include "pipeline/stages/open_readable.h"

#include <fmt/format.h>

#include "io/image_source.h"
#include "ops/base/error.h"

namespace trib::pipeline {

std::vector<UnreadableFile> open_readable(
    std::vector<std::string> files, const ReadErrors& errors,
    const std::function<void(const std::vector<std::string>&)>& open,
    const std::function<void(const std::string&)>& open_one) {
  std::vector<UnreadableFile> unreadable;
  try {
    open(files);
    return unreadable;
  } catch (const DataError&) {
    if (!errors.skip) throw;
  }
  std::vector<std::string> readable;
  const std::vector<std::string> all = io::expand_files(files);
  const std::int64_t most = errors.most_skipped(std::ssize(all));
  for (const std::string& file : all) {
    try {
      open_one(file);
      readable.push_back(file);
    } catch (const DataError& error) {
      unreadable.push_back({file, error.what()});
      if (std::ssize(unreadable) <= most && std::ssize(unreadable) < std::ssize(all)) continue;
      throw DataError(
          fmt::format("{} of {} files cannot be opened, and max_skipped allows {}; the last is {}",
                      unreadable.size(), all.size(), most, error.what()));
    }
  }
  open(readable);
  return unreadable;
}

}  // namespace trib::pipeline
