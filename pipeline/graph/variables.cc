#include "pipeline/graph/variables.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pipeline/graph/suggest.h"

namespace trib::pipeline {
namespace {

/// Index of the "}" that closes the "${" before `begin`, npos if there is none.
std::size_t closing_brace(std::string_view text, std::size_t begin) {
  int depth = 1;
  for (std::size_t i = begin; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return i;
  }
  return std::string_view::npos;
}

DocumentValue scalar_like(const DocumentValue& user, std::string text) {
  DocumentValue value;
  value.kind = DocumentValue::Kind::scalar;
  value.mark = user.mark;
  value.quoted = user.quoted;
  value.text = std::move(text);
  return value;
}

DocumentValue broken_at(const SourceMark& mark) {
  DocumentValue value;
  value.mark = mark;
  value.kind = DocumentValue::Kind::scalar;
  value.broken = true;
  return value;
}

void append(std::vector<std::string>& list, const std::vector<std::string>& more) {
  list.insert(list.end(), more.begin(), more.end());
}

}  // namespace

Variables::Variables(const DocumentValue* vars, Diagnostics& diagnostics)
    : vars_(vars), diagnostics_(diagnostics) {}

DocumentValue Variables::resolve(const DocumentValue& value, const std::string& node) {
  if (value.is_scalar()) return resolve_scalar(value, node);
  DocumentValue result = value;
  for (DocumentValue& item : result.items) {
    item = resolve(item, node);
    result.broken = result.broken || item.broken;
  }
  for (auto& entry : result.entries) entry.value = resolve(entry.value, node);
  return result;
}

DocumentValue Variables::resolve_scalar(const DocumentValue& value, const std::string& node) {
  const std::string_view text = value.text;
  std::string result;
  std::vector<std::string> through;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t dollar = text.find("${", at);
    if (dollar == std::string_view::npos) break;
    if (dollar > at && text[dollar - 1] == '$') {
      result.append(text.substr(at, dollar - 1 - at)).append("${");
      at = dollar + 2;
      continue;
    }
    result.append(text.substr(at, dollar - at));
    const std::size_t end = closing_brace(text, dollar + 2);
    if (end == std::string_view::npos) {
      diagnostics_.add(value.mark, node, fmt::format("'{}' opens ${{ without closing it", text));
      return broken_at(value.mark);
    }
    const std::string_view expression = text.substr(dollar + 2, end - dollar - 2);
    DocumentValue part = evaluate(expression, value, node);
    if (part.broken) return part;
    if (dollar == 0 && end + 1 == text.size()) return part;
    if (!part.is_scalar()) {
      diagnostics_.add(
          value.mark, node,
          fmt::format("'${{{}}}' is {} and cannot stand inside text", expression, part.shown()));
      return broken_at(value.mark);
    }
    result += part.text;
    append(through, part.through);
    at = end + 1;
  }
  DocumentValue resolved = value;
  resolved.text = result.append(text.substr(std::min(at, text.size())));
  append(resolved.through, through);
  return resolved;
}

DocumentValue Variables::evaluate(std::string_view expression, const DocumentValue& user,
                                  const std::string& node) {
  if (expression.starts_with("env:")) return environment(expression.substr(4), user, node);
  const std::string name(expression);
  if (vars_ == nullptr || vars_->find(name) == nullptr) {
    std::vector<std::string> names;
    if (vars_ != nullptr) {
      for (const auto& entry : vars_->entries) names.push_back(entry.key);
    }
    diagnostics_.add(
        user.mark, node,
        fmt::format("variable '{}' is not defined under vars{}", name, did_you_mean(name, names)));
    return broken_at(user.mark);
  }
  const DocumentValue& value = variable(name);
  DocumentValue result = value;
  result.mark = user.mark;
  result.through = {fmt::format("vars.{} ({})", name, value.mark.text())};
  append(result.through, value.through);
  return result;
}

DocumentValue Variables::environment(std::string_view expression, const DocumentValue& user,
                                     const std::string& node) {
  const std::size_t comma = expression.find(',');
  const std::string name(expression.substr(0, comma));
  const bool has_default = comma != std::string_view::npos;
  if (const char* value = std::getenv(name.c_str()); value != nullptr) {
    DocumentValue result = scalar_like(user, value);
    result.through = {"environment " + name};
    return result;
  }
  if (!has_default) {
    diagnostics_.add(user.mark, node,
                     fmt::format("environment variable '{}' is not set; give a default: "
                                 "${{env:{},default}}",
                                 name, name));
    return broken_at(user.mark);
  }
  DocumentValue result =
      resolve_scalar(scalar_like(user, std::string(expression.substr(comma + 1))), node);
  result.through.insert(result.through.begin(), "default of environment " + name);
  return result;
}

const DocumentValue& Variables::variable(const std::string& name) {
  if (const auto known = resolved_.find(name); known != resolved_.end()) return known->second;
  const DocumentValue& written = *vars_->find(name);
  const auto begin = std::find(in_progress_.begin(), in_progress_.end(), name);
  if (begin != in_progress_.end()) {
    const std::vector<std::string> cycle(begin, in_progress_.end());
    diagnostics_.add(written.mark, "",
                     fmt::format("variable '{}' refers to itself: {} -> {}", name,
                                 fmt::join(cycle, " -> "), name));
    return resolved_[name] = broken_at(written.mark);
  }
  in_progress_.push_back(name);
  DocumentValue value = resolve(written);
  in_progress_.pop_back();
  if (value.is_mapping()) {
    diagnostics_.add(written.mark, "",
                     fmt::format("variable '{}' is a mapping; expected a scalar or a list", name));
    value = broken_at(written.mark);
  }
  return resolved_.insert_or_assign(name, std::move(value)).first->second;
}

void Variables::check_all() {
  if (vars_ == nullptr) return;
  for (const auto& entry : vars_->entries) variable(entry.key);
}

}  // namespace trib::pipeline
