// Opening a set of files of which some cannot be opened.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pipeline/stage/read_errors.h"

namespace trib::pipeline {

/// Files that are of no use without each other: one, or those of a scene.
struct FileGroup {
  std::string name;  ///< in messages
  std::vector<std::string> files;
};

/// A group for each file that the patterns name. Those that are `lost` are not touched.
std::vector<FileGroup> groups_of_files(const std::vector<std::string>& patterns,
                                       const std::vector<std::string>& lost);

/// The files that the patterns name but for some, which are not touched; the patterns as they are
/// if there are none such.
std::vector<std::string> files_without(const std::vector<std::string>& patterns,
                                       const std::vector<std::string>& without);

/// How a set of files is opened.
struct FileSet {
  std::function<std::vector<FileGroup>(const std::vector<std::string>& lost)> list;
  std::function<void(const std::vector<std::string>& without)> open;
  std::function<void(const FileGroup&)> open_alone;
};

/// Open a set without the files that are `lost` already. If that is a DataError and `errors` allow
/// to skip, find the groups that cannot be opened by themselves, and open the others. Returns the
/// groups that were left out. Throws DataError if they are more than may be, if there is but one,
/// or if it is not the files.
std::vector<UnreadableFile> open_readable(const FileSet& set,
                                          const std::vector<UnreadableFile>& lost,
                                          const ReadErrors& errors);

}  // namespace trib::pipeline
