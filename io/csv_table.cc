#include "io/csv_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <optional>

#include <fmt/format.h>

#include "io/text.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

template <class Number>
std::optional<Number> parse(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  if (text.starts_with('+')) text.remove_prefix(1);
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

}  // namespace

std::vector<std::string> split_csv_line(std::string_view line) {
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

CsvTable::CsvTable(const std::string& path) : path_(path) {
  std::ifstream stream(path);
  if (!stream || !std::getline(stream, header_)) {
    throw DataError(fmt::format("{}: the table cannot be read", path));
  }
  if (header_.starts_with("\xEF\xBB\xBF")) header_.erase(0, 3);  // byte order mark
  columns_ = split_csv_line(header_);
  for (std::string& column : columns_) column = lower(trim(column));
  std::string line;
  for (std::int64_t number = 2; std::getline(stream, line); ++number) {
    if (line.empty() || line == "\r") continue;
    rows_.push_back({number, split_csv_line(line)});
    if (rows_.back().fields.size() != columns_.size()) {
      throw DataError(fmt::format("{}:{}: expected {} columns, found {}", path, number,
                                  columns_.size(), rows_.back().fields.size()));
    }
  }
}

std::size_t CsvTable::position(std::string_view column) const {
  const auto found = std::find(columns_.begin(), columns_.end(), column);
  if (found == columns_.end()) {
    throw DataError(fmt::format("{}:1: there is no column '{}' in '{}'{}", path_, column, header_,
                                columns_.size() == 1 ? "; columns are parted by commas" : ""));
  }
  return static_cast<std::size_t>(found - columns_.begin());
}

bool CsvTable::has(std::string_view column) const {
  return std::find(columns_.begin(), columns_.end(), column) != columns_.end();
}

void CsvTable::require(std::string_view column) const {
  static_cast<void>(position(column));
}

const std::string& CsvTable::text(std::size_t row, std::string_view column) const {
  return rows_[row].fields[position(column)];
}

double CsvTable::number(std::size_t row, std::string_view column) const {
  const auto value = parse<double>(text(row, column));
  if (!value || !std::isfinite(*value)) {
    throw DataError(fmt::format("{}: column '{}': expected a number, found '{}'", place(row),
                                column, text(row, column)));
  }
  return *value;
}

std::int64_t CsvTable::integer(std::size_t row, std::string_view column) const {
  const auto value = parse<std::int64_t>(text(row, column));
  if (!value) {
    throw DataError(fmt::format("{}: column '{}': expected an integer, found '{}'", place(row),
                                column, text(row, column)));
  }
  return *value;
}

std::int32_t CsvTable::label(std::size_t row, std::string_view column) const {
  const auto value = parse<std::int32_t>(text(row, column));
  if (!value || *value < 0) {
    throw DataError(
        fmt::format("{}: expected a label 0, 1, ..., found '{}'; number the classes, or sort the "
                    "files into folders named after them",
                    place(row), text(row, column)));
  }
  return *value;
}

std::string CsvTable::place(std::size_t row) const {
  return fmt::format("{}:{}", path_, rows_[row].line);
}

}  // namespace trib::io
