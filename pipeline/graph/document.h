// A YAML file as a tree of our own in which every value knows where it was written.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/graph/diagnostics.h"
#include "pipeline/graph/source_mark.h"

namespace trib::pipeline {

/// One value of a document. Made by the reader and by merging, read-only for everybody else.
struct DocumentValue {
  enum class Kind { null, scalar, sequence, mapping };
  struct Entry;

  Kind kind = Kind::null;
  SourceMark mark;
  std::string text;                  ///< of a scalar, after unquoting
  bool quoted = false;               ///< a scalar in quotes or in a block
  std::vector<DocumentValue> items;  ///< of a sequence
  std::vector<Entry> entries;        ///< of a mapping, in the order written
  /// The variables this value was put together from, each with its place; see variables.h.
  std::vector<std::string> through;
  bool broken = false;  ///< a problem was reported already: to be passed over in silence

  bool is_null() const { return kind == Kind::null; }
  bool is_scalar() const { return kind == Kind::scalar; }
  bool is_sequence() const { return kind == Kind::sequence; }
  bool is_mapping() const { return kind == Kind::mapping; }

  /// The value of a mapping's key, null if there is none.
  const DocumentValue* find(std::string_view key) const;
  /// Replace or append a mapping's entry.
  void set(Entry entry);
  /// The value for messages: the text of a scalar, otherwise "a list", "a mapping", "null".
  std::string shown() const;
};

struct DocumentValue::Entry {
  std::string key;
  SourceMark key_mark;
  DocumentValue value;
};

/// Read one YAML document. Anchors, aliases and merge keys (`<<`) are resolved; a mapping keeps the
/// first of duplicate keys. Syntax errors and duplicates are added to `diagnostics`, duplicates
/// with both places. Empty after a syntax error; an empty text is a null value.
std::optional<DocumentValue> parse_document(std::string_view text, const std::string& file,
                                            Diagnostics& diagnostics);

/// Read the file at `path`. `asked_at` is where the file was asked for: the place to report if it
/// cannot be read.
std::optional<DocumentValue> read_document(const std::string& path, const SourceMark& asked_at,
                                           Diagnostics& diagnostics);

}  // namespace trib::pipeline
