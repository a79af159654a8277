#include "io/labels.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

std::string folder_name(std::string_view file) {
  const std::size_t slash = file.rfind('/');
  if (slash == std::string_view::npos) return "";
  const std::string_view folder = file.substr(0, slash);
  return std::string(folder.substr(folder.rfind('/') + 1));
}

/// Fields of one line; a field in double quotes may hold commas, and quotes doubled.
std::vector<std::string> split_line(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') {
      if (quoted && i + 1 < line.size() && line[i + 1] == '"') {
        fields.back() += line[++i];
      } else {
        quoted = !quoted;
      }
    } else if (line[i] == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += line[i];
    }
  }
  return fields;
}

using Table = std::unordered_map<std::string, std::int32_t>;

Table read_table(const std::string& path) {
  std::ifstream stream(path);
  std::string line;
  if (!stream || !std::getline(stream, line)) {
    throw DataError(fmt::format("{}: the table of labels cannot be read", path));
  }
  if (line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);  // byte order mark
  const std::vector<std::string> columns = split_line(line);
  const auto column = [&](const char* name) {
    const auto found = std::find(columns.begin(), columns.end(), name);
    if (found == columns.end()) {
      throw DataError(fmt::format("{}:1: there is no column '{}' in '{}'", path, name, line));
    }
    return static_cast<std::size_t>(found - columns.begin());
  };
  const std::size_t path_column = column("path");
  const std::size_t label_column = column("label");

  Table table;
  for (int number = 2; std::getline(stream, line); ++number) {
    if (line.empty() || line == "\r") continue;
    const std::vector<std::string> fields = split_line(line);
    if (fields.size() != columns.size()) {
      throw DataError(fmt::format("{}:{}: expected {} columns, found {}", path, number,
                                  columns.size(), fields.size()));
    }
    const std::string& text = fields[label_column];
    std::int32_t label = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), label);
    if (error != std::errc{} || end != text.data() + text.size() || label < 0) {
      throw DataError(
          fmt::format("{}:{}: expected a label 0, 1, ..., found '{}'", path, number, text));
    }
    const auto [row, added] = table.emplace(fields[path_column], label);
    if (!added && row->second != label) {
      throw DataError(fmt::format("{}:{}: '{}' has label {} here and {} above", path, number,
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
