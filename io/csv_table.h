// Tables of comma-separated values whose first line names the columns.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trib::io {

/// A table in memory. A field in double quotes may hold commas, and quotes doubled. Empty lines,
/// a byte order mark and line ends of either kind are passed over.
class CsvTable {
 public:
  /// Throws DataError naming file and line if it cannot be read or a row has too few or too many
  /// fields.
  explicit CsvTable(const std::string& path);

  const std::string& path() const { return path_; }
  std::size_t rows() const { return rows_.size(); }
  bool has(std::string_view column) const;
  /// Throws DataError naming the columns there are if there is none of this name.
  void require(std::string_view column) const;

  /// Fields of a row, counted from 0. The column must be there. number() and integer() throw
  /// DataError naming file, line and text if the field is none, or not finite.
  const std::string& text(std::size_t row, std::string_view column) const;
  double number(std::size_t row, std::string_view column) const;
  std::int64_t integer(std::size_t row, std::string_view column) const;
  /// A class label: an integer of at least 0.
  std::int32_t label(std::size_t row, std::string_view column) const;

  /// "table.csv:12", to begin messages with.
  std::string place(std::size_t row) const;

 private:
  struct Row {
    std::int64_t line;
    std::vector<std::string> fields;
  };
  std::size_t position(std::string_view column) const;

  std::string path_;
  std::string header_;
  std::vector<std::string> columns_;
  std::vector<Row> rows_;
};

/// Fields of one line of such a table.
std::vector<std::string> split_csv_line(std::string_view line);

}  // namespace trib::io
