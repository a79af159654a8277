#include "pipeline/graph/document.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

namespace trib::pipeline {
namespace {

/// Aliases copy what they name: without a bound, a few lines could unfold to gigabytes.
constexpr std::size_t kMaxValues = 1'000'000;

std::size_t count_values(const DocumentValue& value) {
  std::size_t count = 1;
  for (const DocumentValue& item : value.items) count += count_values(item);
  for (const auto& entry : value.entries) count += count_values(entry.value);
  return count;
}

/// Turn the bytes yaml-cpp counts into characters.
class MarkReader {
 public:
  MarkReader(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  SourceMark operator()(const YAML::Mark& mark) const {
    if (mark.is_null()) return {file_, 0, 0};
    int column = mark.column;
    if (mark.pos >= mark.column && static_cast<std::size_t>(mark.pos) <= text_.size()) {
      const auto line = text_.substr(static_cast<std::size_t>(mark.pos - mark.column),
                                     static_cast<std::size_t>(mark.column));
      const auto inside_character = [](char c) { return (c & 0xC0) == 0x80; };
      column -= static_cast<int>(std::count_if(line.begin(), line.end(), inside_character));
    }
    return {file_, mark.line + 1, column + 1};
  }

 private:
  std::string_view text_;
  const std::string& file_;
};

bool is_indented_by_tab(std::string_view text, int line) {
  for (; line > 0; --line) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return false;
    text.remove_prefix(end + 1);
  }
  const std::string_view indentation = text.substr(0, text.find_first_not_of(" \t"));
  return indentation.find('\t') != std::string_view::npos;
}

/// Build the tree from the parser's events: unlike YAML::Node they still hold duplicate keys.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(MarkReader place, Diagnostics& diagnostics)
      : place_(place), diagnostics_(diagnostics) {}

  DocumentValue take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    DocumentValue value;
    value.mark = place_(mark);
    // yaml-cpp gives a null that stands for nothing no place: the key's is the nearest.
    if (value.mark.line == 0 && !frames_.empty()) value.mark = frames_.back().key.key_mark;
    add(std::move(value), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    DocumentValue value;
    value.kind = DocumentValue::Kind::scalar;
    value.mark = place_(mark);
    value.text = text;
    value.quoted = tag != "?";
    add(std::move(value), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) {
      diagnostics_.add(place_(mark), "", "alias refers to the value it is part of");
      add({}, YAML::NullAnchor);
      return;
    }
    copied_ += count_values(found->second);
    if (copied_ > kMaxValues) {
      throw YAML::ParserException(mark,
                                  fmt::format("aliases unfold to more than {} values", kMaxValues));
    }
    add(found->second, YAML::NullAnchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(DocumentValue::Kind::sequence, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(DocumentValue::Kind::mapping, mark, anchor);
  }
  void OnMapEnd() override {
    merge_into(frames_.back());
    close();
  }

 private:
  struct Frame {
    DocumentValue value;
    YAML::anchor_t anchor = YAML::NullAnchor;
    bool has_key = false;
    bool is_merge = false;
    DocumentValue::Entry key;           ///< waiting for its value
    std::vector<DocumentValue> merges;  ///< values of `<<`
  };

  void open(DocumentValue::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    Frame frame;
    frame.value.kind = kind;
    frame.value.mark = place_(mark);
    frame.anchor = anchor;
    frames_.push_back(std::move(frame));
  }

  void close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    add(std::move(frame.value), frame.anchor);
  }

  void add(DocumentValue value, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) anchors_[anchor] = value;
    if (frames_.empty()) {
      root_ = std::move(value);
      return;
    }
    Frame& frame = frames_.back();
    if (frame.value.is_sequence()) {
      frame.value.items.push_back(std::move(value));
    } else if (!frame.has_key) {
      begin_entry(frame, value);
    } else {
      end_entry(frame, std::move(value));
    }
  }

  void begin_entry(Frame& frame, const DocumentValue& key) {
    if (!key.is_scalar()) {
      diagnostics_.add(key.mark, "",
                       fmt::format("a key must be plain text, this is {}", key.shown()));
    }
    frame.has_key = true;
    frame.is_merge = key.text == "<<" && !key.quoted;
    frame.key = {key.text, key.mark, {}};
  }

  void end_entry(Frame& frame, DocumentValue value) {
    frame.has_key = false;
    if (frame.is_merge) {
      frame.merges.push_back(std::move(value));
      return;
    }
    const auto same_key = [&](const auto& entry) { return entry.key == frame.key.key; };
    const auto& entries = frame.value.entries;
    const auto first = std::find_if(entries.begin(), entries.end(), same_key);
    if (first != entries.end()) {
      diagnostics_.add(frame.key.key_mark, "",
                       fmt::format("key '{}' is given twice, first at {}", path_of(frame.key.key),
                                   first->key_mark.text()));
      return;
    }
    frame.key.value = std::move(value);
    frame.value.entries.push_back(std::move(frame.key));
  }

  /// "nodes.tokens.patch": the keys that lead to `key` in the innermost mapping.
  std::string path_of(const std::string& key) const {
    std::string path;
    for (std::size_t i = 0; i + 1 < frames_.size(); ++i) {
      if (frames_[i].has_key) path += frames_[i].key.key + ".";
    }
    return path + key;
  }

  /// Append what `<<` brings in: keys of the mapping itself win, then earlier merges.
  void merge_into(Frame& frame) {
    std::vector<DocumentValue> mappings;
    for (DocumentValue& merge : frame.merges) {
      if (merge.is_sequence()) {
        std::move(merge.items.begin(), merge.items.end(), std::back_inserter(mappings));
      } else {
        mappings.push_back(std::move(merge));
      }
    }
    for (DocumentValue& mapping : mappings) {
      if (!mapping.is_mapping()) {
        diagnostics_.add(mapping.mark, "",
                         fmt::format("'<<' merges mappings, this is {}", mapping.shown()));
      }
      for (auto& entry : mapping.entries) {
        if (frame.value.find(entry.key) == nullptr) {
          frame.value.entries.push_back(std::move(entry));
        }
      }
    }
  }

  MarkReader place_;
  Diagnostics& diagnostics_;
  DocumentValue root_;
  std::vector<Frame> frames_;
  std::unordered_map<YAML::anchor_t, DocumentValue> anchors_;
  std::size_t copied_ = 0;
};

/// The first byte at which text stops being UTF-8, npos if it never does.
std::size_t find_broken_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xC2 && lead < 0xE0 ? 2
                               : lead >= 0xE0 && lead < 0xF0 ? 3
                               : lead >= 0xF0 && lead < 0xF5 ? 4
                                                             : 0;
    if (length == 0 || length > text.size() - at) return at;
    for (std::size_t i = 1; i < length; ++i) {
      if ((static_cast<unsigned char>(text[at + i]) & 0xC0) != 0x80) return at;
    }
    at += length;
  }
  return std::string_view::npos;
}

bool is_utf16(std::string_view text) {
  return text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF");
}

}  // namespace

const DocumentValue* DocumentValue::find(std::string_view key) const {
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const Entry& entry) { return entry.key == key; });
  return found == entries.end() ? nullptr : &found->value;
}

void DocumentValue::set(Entry entry) {
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const Entry& other) { return other.key == entry.key; });
  if (found == entries.end()) {
    entries.push_back(std::move(entry));
  } else {
    *found = std::move(entry);
  }
}

std::string DocumentValue::shown() const {
  switch (kind) {
    case Kind::null:
      return "null";
    case Kind::scalar:
      return "'" + text + "'";
    case Kind::sequence:
      return "a list";
    case Kind::mapping:
      return "a mapping";
  }
  return {};
}

std::optional<DocumentValue> parse_document(std::string_view text, const std::string& file,
                                            Diagnostics& diagnostics) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (const std::size_t broken = find_broken_utf8(text);
      broken != std::string_view::npos && !is_utf16(text)) {
    const std::string_view before = text.substr(0, broken);
    const auto line = 1 + static_cast<int>(std::count(before.begin(), before.end(), '\n'));
    const auto column = static_cast<int>(broken - (before.rfind('\n') + 1)) + 1;
    diagnostics.add({file, line, column}, "",
                    fmt::format("byte {:#04x} is no UTF-8, as which YAML is written",
                                static_cast<unsigned char>(text[broken])));
    return std::nullopt;
  }
  const MarkReader place(text, file);
  std::istringstream stream{std::string(text)};
  try {
    YAML::Parser parser(stream);
    TreeBuilder builder(place, diagnostics);
    if (!parser.HandleNextDocument(builder)) {
      DocumentValue empty;
      empty.mark = {file, 1, 1};
      return empty;
    }
    DocumentValue root = builder.take();
    if (root.mark.line == 0) root.mark = {file, 1, 1};
    TreeBuilder second(place, diagnostics);
    if (parser.HandleNextDocument(second)) {
      diagnostics.add(second.take().mark, "", "a file holds one document, this begins a second");
    }
    return root;
  } catch (const YAML::Exception& error) {
    const bool tab = is_indented_by_tab(text, error.mark.line);
    diagnostics.add(place(error.mark), "",
                    "not YAML: " + error.msg + (tab ? "; indent with spaces, not tabs" : ""));
    return std::nullopt;
  }
}

std::optional<DocumentValue> read_document(const std::string& path, const SourceMark& asked_at,
                                           Diagnostics& diagnostics) {
  std::error_code ignored;
  errno = std::filesystem::is_directory(path, ignored) ? EISDIR : 0;
  std::ifstream stream;
  if (errno == 0) stream.open(path, std::ios::binary);
  if (!stream.is_open()) {
    diagnostics.add(asked_at, "", fmt::format("cannot read '{}': {}", path, std::strerror(errno)));
    return std::nullopt;
  }
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  return parse_document(text, path, diagnostics);
}

}  // namespace trib::pipeline
