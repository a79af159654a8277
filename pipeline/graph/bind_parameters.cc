#include "pipeline/graph/bind_parameters.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/base/error.h"
#include "pipeline/graph/scalar_text.h"
#include "pipeline/graph/suggest.h"

namespace trib::pipeline {
namespace {

/// Why a value does not fit, and where.
struct Misfit {
  SourceMark mark;
  std::string message;
};

/// Read one value by its declaration.
class ValueReader {
 public:
  explicit ValueReader(const ParameterSpec& spec) : spec_(spec) {}

  /// Throws Misfit.
  ParameterValue::Data read(const DocumentValue& value) const {
    switch (spec_.type) {
      case ParameterType::boolean:
        return scalar(value, parse_boolean);
      case ParameterType::integer:
        return in_range(value, integer(value));
      case ParameterType::number:
        return in_range(value, scalar(value, parse_number));
      case ParameterType::string:
        return text(value);
      case ParameterType::choice:
        return choice(value);
      case ParameterType::duration:
        return in_range(value, scalar(value, parse_duration));
      case ParameterType::bytes:
        return in_range(value, scalar(value, parse_bytes));
      case ParameterType::size:
        return size(value);
      case ParameterType::strings:
        return list<std::string>(value, [&](const DocumentValue& item) { return text(item); });
      case ParameterType::numbers:
        return list<double>(value, [&](const DocumentValue& item) {
          return in_range(item, scalar(item, parse_number));
        });
    }
    return {};
  }

 private:
  [[noreturn]] void refuse(const DocumentValue& value, const std::string& more = "") const {
    std::string through;
    if (!value.through.empty())
      through = fmt::format(" (through {})", fmt::join(value.through, ", "));
    throw Misfit{value.mark, fmt::format("is {}{}; expected {}{}", value.shown(), through,
                                         spec_.expectation(), more)};
  }

  const std::string& text(const DocumentValue& value) const {
    if (!value.is_scalar()) refuse(value);
    return value.text;
  }

  template <typename T>
  T scalar(const DocumentValue& value, std::optional<T> (*parse)(std::string_view)) const {
    const std::optional<T> parsed = parse(text(value));
    if (!parsed) refuse(value);
    return *parsed;
  }

  std::int64_t integer(const DocumentValue& value) const {
    const auto parsed = parse_integer(text(value));
    if (parsed) return *parsed;
    const auto number = parse_number(value.text);
    const bool too_large = number && std::abs(*number) >= 0x1p63;
    refuse(value, too_large ? " that fits in 64 bits" : "");
  }

  std::string choice(const DocumentValue& value) const {
    const std::string& word = text(value);
    const auto& choices = spec_.choices;
    if (std::find(choices.begin(), choices.end(), word) == choices.end()) {
      refuse(value, did_you_mean(word, choices));
    }
    return word;
  }

  template <typename T>
  T in_range(const DocumentValue& value, T number) const {
    const auto x = static_cast<double>(number);
    const bool too_small = spec_.min && (x < *spec_.min || (spec_.min_excluded && x == *spec_.min));
    const bool too_large = spec_.max && (x > *spec_.max || (spec_.max_excluded && x == *spec_.max));
    if (too_small || too_large) refuse(value);
    return number;
  }

  SizeValue size(const DocumentValue& value) const {
    if (value.is_scalar()) {
      const std::int64_t side = in_range(value, integer(value));
      return {side, side};
    }
    if (!value.is_sequence()) refuse(value);
    if (value.items.size() != 2) {
      throw Misfit{value.mark, fmt::format("is a list of {}; expected {}", value.items.size(),
                                           spec_.expectation())};
    }
    const auto side = [&](const DocumentValue& item) { return in_range(item, integer(item)); };
    return {side(value.items[0]), side(value.items[1])};
  }

  template <typename T, typename ReadItem>
  std::vector<T> list(const DocumentValue& value, ReadItem read_item) const {
    if (value.is_mapping() || value.is_null()) refuse(value);
    if (value.is_scalar()) return {read_item(value)};
    std::vector<T> values;
    for (const DocumentValue& item : value.items) values.push_back(read_item(item));
    return values;
  }

  const ParameterSpec& spec_;
};

/// A default is YAML, except where any text is allowed: there it stands for itself.
DocumentValue parse_default(const ParameterSpec& spec) {
  DocumentValue value;
  const bool plain = spec.type != ParameterType::size && spec.type != ParameterType::strings &&
                     spec.type != ParameterType::numbers;
  if (plain) {
    value.kind = DocumentValue::Kind::scalar;
    value.text = *spec.default_text;
    return value;
  }
  Diagnostics diagnostics;
  auto parsed = parse_document(*spec.default_text, "default of " + spec.name, diagnostics);
  if (!parsed || !diagnostics.empty()) {
    throw RuntimeError(
        fmt::format("parameter '{}': the default '{}' is not YAML", spec.name, *spec.default_text));
  }
  return *parsed;
}

class Binder {
 public:
  Binder(std::span<const ParameterSpec> specs, const DocumentValue& mapping,
         const BindContext& context, Diagnostics& diagnostics, std::vector<Problem>& warnings)
      : specs_(specs),
        mapping_(mapping),
        context_(context),
        diagnostics_(diagnostics),
        warnings_(warnings) {}

  ParameterValues bind() {
    report_unknown();
    std::vector<ParameterValue> values;
    for (const ParameterSpec& spec : specs_) values.push_back(bind_one(spec));
    return ParameterValues(std::move(values));
  }

 private:
  /// "parameter 'patch'" of a node, "key 'mesh.tensor'" of a section.
  std::string label(const std::string& name) const {
    return context_.node.empty() ? "key '" + context_.section + name + "'"
                                 : "parameter '" + name + "'";
  }

  void report(const SourceMark& mark, const std::string& message) {
    diagnostics_.add(mark, context_.node, message);
  }

  void report_unknown() {
    std::vector<std::string> known = context_.other_keys;
    std::vector<std::string> former;
    for (const ParameterSpec& spec : specs_) {
      known.push_back(spec.name);
      former.insert(former.end(), spec.former_names.begin(), spec.former_names.end());
    }
    const auto holds = [](const std::vector<std::string>& names, const std::string& name) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    for (const auto& entry : mapping_.entries) {
      if (holds(known, entry.key) || holds(former, entry.key)) continue;
      report(entry.key_mark,
             fmt::format("{} is unknown{}", label(entry.key), did_you_mean(entry.key, known)));
    }
  }

  /// The entry for a parameter under its name or a former one, null if there is none.
  const DocumentValue::Entry* find_entry(const ParameterSpec& spec) {
    const DocumentValue::Entry* found = nullptr;
    for (const auto& entry : mapping_.entries) {
      const bool former = std::find(spec.former_names.begin(), spec.former_names.end(),
                                    entry.key) != spec.former_names.end();
      if (entry.key != spec.name && !former) continue;
      if (former) {
        warnings_.push_back({entry.key_mark, context_.node,
                             fmt::format("{} is now called '{}'", label(entry.key), spec.name)});
      }
      if (found != nullptr) {
        report(entry.key_mark, fmt::format("{} and '{}' at {} are the same parameter",
                                           label(entry.key), found->key, found->key_mark.text()));
        continue;
      }
      found = &entry;
    }
    return found;
  }

  ParameterValue bind_one(const ParameterSpec& spec) {
    const DocumentValue::Entry* entry = find_entry(spec);
    if (entry == nullptr || entry->value.is_null()) return bind_absent(spec);
    ParameterValue bound;
    bound.spec = spec;
    const DocumentValue& value = entry->value;
    bound.origin = {Origin::Kind::written, value.mark, value.through};
    for (const DocumentValue& item : value.items) {
      bound.origin.through.insert(bound.origin.through.end(), item.through.begin(),
                                  item.through.end());
    }
    if (value.broken) return bound;
    try {
      bound.data = ValueReader(spec).read(value);
      bound.text = value.text;
    } catch (const Misfit& misfit) {
      report(misfit.mark, fmt::format("{} {}", label(entry->key), misfit.message));
    }
    return bound;
  }

  ParameterValue bind_absent(const ParameterSpec& spec) {
    if (spec.required) {
      report(mapping_.mark,
             fmt::format("{} is missing; expected {}", label(spec.name), spec.expectation()));
    }
    ParameterValue bound = default_value(spec);
    bound.origin.mark = mapping_.mark;
    return bound;
  }

  std::span<const ParameterSpec> specs_;
  const DocumentValue& mapping_;
  const BindContext& context_;
  Diagnostics& diagnostics_;
  std::vector<Problem>& warnings_;
};

}  // namespace

ParameterValues bind_parameters(std::span<const ParameterSpec> specs, const DocumentValue& mapping,
                                const BindContext& context, Diagnostics& diagnostics,
                                std::vector<Problem>& warnings) {
  if (!mapping.is_mapping() && !mapping.is_null() && !mapping.broken) {
    diagnostics.add(mapping.mark, context.node,
                    fmt::format("expected a mapping of parameters, this is {}", mapping.shown()));
  }
  return Binder(specs, mapping, context, diagnostics, warnings).bind();
}

ParameterValue default_value(const ParameterSpec& spec) {
  ParameterValue value;
  value.spec = spec;
  if (!spec.default_text) return value;
  const DocumentValue written = parse_default(spec);
  try {
    value.data = ValueReader(spec).read(written);
  } catch (const Misfit& misfit) {
    throw RuntimeError(fmt::format("the default of parameter '{}' {}", spec.name, misfit.message));
  }
  value.text = written.text;
  value.origin.kind = Origin::Kind::declared_default;
  return value;
}

ParameterValues parameters_from_text(const std::vector<ParameterSpec>& specs,
                                     std::string_view yaml) {
  Diagnostics diagnostics;
  std::vector<Problem> warnings;
  const auto mapping = parse_document(yaml, "parameters", diagnostics);
  diagnostics.throw_if_any();
  ParameterValues values = bind_parameters(specs, *mapping, {}, diagnostics, warnings);
  diagnostics.throw_if_any();
  return values;
}

}  // namespace trib::pipeline
