// Class labels of image files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trib::io {

/// Names of the folders that directly hold the files, sorted, each once: the classes of a data set
/// with one folder a class.
std::vector<std::string> folder_classes(const std::vector<std::string>& files);

/// Label of each file: the index of its folder's name in folder_classes(files).
std::vector<std::int32_t> labels_from_folders(const std::vector<std::string>& files);

/// Label of each file from a table of comma-separated values whose first line names the columns;
/// "path" and "label" (an integer >= 0) are used. A row's path may leave out leading folders: it
/// holds for the files whose path ends in it. Throws DataError naming the table and the line, or
/// the file that has no row.
std::vector<std::int32_t> labels_from_table(const std::string& table,
                                            const std::vector<std::string>& files);

}  // namespace trib::io
