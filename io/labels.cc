#include "io/labels.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>

#include <fmt/format.h>

#include "io/csv_table.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

std::string folder_name(std::string_view file) {
  const std::size_t slash = file.rfind('/');
  if (slash == std::string_view::npos) return "";
  const std::string_view folder = file.substr(0, slash);
  return std::string(folder.substr(folder.rfind('/') + 1));
}

using Table = std::unordered_map<std::string, std::int32_t>;

Table read_table(const std::string& path) {
  const CsvTable rows(path);
  rows.require("path");
  rows.require("label");
  Table table;
  for (std::size_t i = 0; i < rows.rows(); ++i) {
    const std::int32_t label = rows.label(i, "label");
    const auto [row, added] = table.emplace(rows.text(i, "path"), label);
    if (!added && row->second != label) {
      throw DataError(fmt::format("{}: '{}' has label {} here and {} above", rows.place(i),
                                  row->first, label, row->second));
    }
  }
  return table;
}

/// The row of the longest end of `file` that the table holds.
std::optional<std::int32_t> look_up(const Table& table, const std::string& file) {
  for (std::size_t start = 0;;) {
    const auto row = table.find(file.substr(start));
    if (row != table.end()) return row->second;
    const std::size_t slash = file.find('/', start);
    if (slash == std::string::npos) return {};
    start = slash + 1;
  }
}

}  // namespace

std::vector<std::string> folder_classes(const std::vector<std::string>& files) {
  std::set<std::string> names;
  for (const std::string& file : files) names.insert(folder_name(file));
  return {names.begin(), names.end()};
}

std::vector<std::int32_t> labels_from_folders(const std::vector<std::string>& files) {
  const std::vector<std::string> classes = folder_classes(files);
  std::vector<std::int32_t> labels;
  labels.reserve(files.size());
  for (const std::string& file : files) {
    const auto found = std::lower_bound(classes.begin(), classes.end(), folder_name(file));
    labels.push_back(static_cast<std::int32_t>(found - classes.begin()));
  }
  return labels;
}

std::vector<std::int32_t> labels_from_table(const std::string& table,
                                            const std::vector<std::string>& files) {
  const Table rows = read_table(table);
  std::vector<std::int32_t> labels;
  labels.reserve(files.size());
  for (const std::string& file : files) {
    const auto label = look_up(rows, file);
    if (!label) throw DataError(fmt::format("{}: has no label in '{}'", file, table));
    labels.push_back(*label);
  }
  return labels;
}

}  // namespace trib::io
