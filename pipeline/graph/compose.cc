#include "pipeline/graph/compose.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pipeline/graph/suggest.h"
#include "pipeline/graph/variables.h"

namespace trib::pipeline {
namespace {

void merge(DocumentValue& base, const DocumentValue& later) {
  if (!base.is_mapping() || !later.is_mapping()) {
    base = later;
    return;
  }
  base.mark = later.mark;
  for (const auto& entry : later.entries) {
    const auto found = std::find_if(base.entries.begin(), base.entries.end(),
                                    [&](const auto& other) { return other.key == entry.key; });
    if (found == base.entries.end()) {
      base.entries.push_back(entry);
    } else if (entry.value.is_null()) {
      base.entries.erase(found);
    } else {
      found->key_mark = entry.key_mark;
      merge(found->value, entry.value);
    }
  }
}

/// Reads a file and, depth first, the files it extends.
class Extender {
 public:
  explicit Extender(Diagnostics& diagnostics) : diagnostics_(diagnostics) {}

  std::optional<DocumentValue> load(const std::string& path, const SourceMark& asked_at) {
    std::error_code ignored;
    const std::string identity = std::filesystem::weakly_canonical(path, ignored).string();
    const auto begin = std::find_if(open_.begin(), open_.end(),
                                    [&](const OpenFile& f) { return f.identity == identity; });
    if (begin != open_.end()) {
      std::string cycle;
      for (auto file = begin; file != open_.end(); ++file) cycle += file->path + " -> ";
      diagnostics_.add(asked_at, "", fmt::format("extends itself: {}{}", cycle, begin->path));
      return std::nullopt;
    }
    auto document = read_document(path, asked_at, diagnostics_);
    if (!document) return std::nullopt;
    if (!document->is_mapping()) {
      diagnostics_.add(document->mark, "",
                       document->is_null() ? "the file is empty; expected a graph definition"
                                           : "expected a mapping, this is " + document->shown());
      return std::nullopt;
    }
    open_.push_back({path, identity});
    auto merged = extend(path, std::move(*document));
    open_.pop_back();
    if (std::find(files.begin(), files.end(), path) == files.end()) files.push_back(path);
    return merged;
  }

  std::vector<std::string> files;

 private:
  struct OpenFile {
    std::string path, identity;
  };

  /// Merge `document` over the files it extends.
  std::optional<DocumentValue> extend(const std::string& path, DocumentValue document) {
    const DocumentValue* written = document.find("extends");
    if (written == nullptr) return document;
    const DocumentValue extends = Variables(nullptr, diagnostics_).resolve(*written);
    if (extends.broken) return std::nullopt;
    const std::vector<DocumentValue> bases =
        extends.is_sequence() ? extends.items : std::vector<DocumentValue>{extends};
    std::optional<DocumentValue> merged;
    bool complete = true;
    for (const DocumentValue& base : bases) {
      if (!base.is_scalar()) {
        diagnostics_.add(base.mark, "",
                         "'extends' is " + base.shown() + "; expected a file or a list of files");
        complete = false;
        continue;
      }
      const auto folder = std::filesystem::path(path).parent_path();
      const auto loaded = load((folder / base.text).lexically_normal().string(), base.mark);
      complete = complete && loaded.has_value();
      if (!loaded) continue;
      if (merged) {
        merge(*merged, *loaded);
      } else {
        merged = loaded;
      }
    }
    if (!complete) return std::nullopt;
    std::erase_if(document.entries, [](const auto& entry) { return entry.key == "extends"; });
    if (!merged) return document;
    merge(*merged, document);
    return merged;
  }

  Diagnostics& diagnostics_;
  std::vector<OpenFile> open_;
};

constexpr std::array<std::string_view, 4> kSettings{"name", "seed", "runs", "precision"};
constexpr std::array<std::string_view, 5> kSections{"mesh", "ingest", "checkpoints", "weights",
                                                    "vars"};

template <std::size_t n>
bool holds(const std::array<std::string_view, n>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<std::string> keys_of(const DocumentValue* mapping) {
  std::vector<std::string> keys;
  if (mapping != nullptr) {
    for (const auto& entry : mapping->entries) keys.push_back(entry.key);
  }
  return keys;
}

/// Applies one "node.param=value".
class Setter {
 public:
  Setter(const std::string& option, DocumentValue& root, Diagnostics& diagnostics)
      : mark_{"--set " + option, 0, 0}, root_(root), diagnostics_(diagnostics) {
    const std::size_t equals = option.find('=');
    if (equals == std::string::npos || equals == 0) {
      report("expected NODE.PARAMETER=VALUE");
      return;
    }
    std::string_view path = std::string_view(option).substr(0, equals);
    if (path.starts_with("nodes.")) path.remove_prefix(6);
    const std::size_t dot = path.find('.');
    const std::string first(path.substr(0, dot));
    if (dot == std::string_view::npos) {
      set_top(first, option.substr(equals + 1));
    } else {
      set_inside(first, std::string(path.substr(dot + 1)), option.substr(equals + 1));
    }
  }

 private:
  void report(const std::string& message) { diagnostics_.add(mark_, "", message); }

  void set_top(const std::string& key, const std::string& text) {
    if (holds(kSettings, key)) {
      root_.set({key, mark_, value_of(text)});
      return;
    }
    const auto nodes = keys_of(root_.find("nodes"));
    if (holds(kSections, key) || std::find(nodes.begin(), nodes.end(), key) != nodes.end()) {
      report(fmt::format("'{}' holds several values; expected {}.PARAMETER=VALUE", key, key));
      return;
    }
    std::vector<std::string> known(kSettings.begin(), kSettings.end());
    known.insert(known.end(), kSections.begin(), kSections.end());
    known.insert(known.end(), nodes.begin(), nodes.end());
    report(fmt::format("'{}' is unknown{}", key, did_you_mean(key, known)));
  }

  void set_inside(const std::string& owner, const std::string& key, const std::string& text) {
    if (holds(kSections, owner)) {
      set_in_section(owner, key, text);
      return;
    }
    DocumentValue* nodes = child(root_, "nodes");
    DocumentValue* node = nodes == nullptr ? nullptr : child(*nodes, owner);
    if (node == nullptr) {
      std::vector<std::string> known = keys_of(nodes);
      known.insert(known.end(), kSections.begin(), kSections.end());
      report(fmt::format("node '{}' is unknown{}", owner, did_you_mean(owner, known)));
      return;
    }
    if (node->is_mapping()) node->set({key, mark_, value_of(text)});
  }

  void set_in_section(const std::string& section, const std::string& key, const std::string& text) {
    DocumentValue* mapping = child(root_, section);
    if (section == "vars" && (mapping == nullptr || mapping->find(key) == nullptr)) {
      report(fmt::format("variable '{}' is not defined under vars{}", key,
                         did_you_mean(key, keys_of(mapping))));
      return;
    }
    if (mapping == nullptr || mapping->is_null()) {
      DocumentValue empty;
      empty.kind = DocumentValue::Kind::mapping;
      empty.mark = mark_;
      root_.set({section, mark_, std::move(empty)});
      mapping = child(root_, section);
    }
    mapping->set({key, mark_, value_of(text)});
  }

  static DocumentValue* child(DocumentValue& mapping, const std::string& key) {
    for (auto& entry : mapping.entries) {
      if (entry.key == key) return &entry.value;
    }
    return nullptr;
  }

  /// Lists and quoted text are read as YAML; everything else is plain text, so that "*.tif" or
  /// "a: b" need no quoting.
  DocumentValue value_of(const std::string& text) {
    DocumentValue value;
    if (text.starts_with('[') || text.starts_with('"') || text.starts_with('\'')) {
      Diagnostics inner;
      const auto parsed = parse_document(text, mark_.file, inner);
      for (const Problem& problem : inner.sorted()) report(problem.message);
      if (parsed) value = *parsed;
      value.broken = !inner.empty();
      for (DocumentValue& item : value.items) item.mark = mark_;
    } else if (text != "null" && text != "~") {
      value.kind = DocumentValue::Kind::scalar;
      value.text = text;
    }
    value.mark = mark_;
    return value;
  }

  SourceMark mark_;
  DocumentValue& root_;
  Diagnostics& diagnostics_;
};

}  // namespace

std::optional<ComposedDocument> compose_document(const std::string& path,
                                                 const std::vector<std::string>& sets,
                                                 Diagnostics& diagnostics) {
  Extender extender(diagnostics);
  auto root = extender.load(path, {path, 0, 0});
  if (!root) return std::nullopt;
  for (const std::string& option : sets) Setter(option, *root, diagnostics);
  return ComposedDocument{std::move(*root), std::move(extender.files)};
}

}  // namespace trib::pipeline
