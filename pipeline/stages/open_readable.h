// Opening a set of files of which some cannot be opened.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pipeline/stage/read_errors.h"

namespace trib::pipeline {

/// Call open(files). If that is a DataError and `errors` allow to skip, find the files that cannot
/// be opened by themselves (`open_one`), and call open() with the others. Files may be patterns.
/// Returns what was left out. Throws DataError if it is more than may be, or if it is not the
/// files.
std::vector<UnreadableFile> open_readable(
    std::vector<std::string> files, const ReadErrors& errors,
    const std::function<void(const std::vector<std::string>&)>& open,
    const std::function<void(const std::string&)>& open_one);

}  // namespace trib::pipeline
