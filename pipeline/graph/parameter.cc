#include "pipeline/graph/parameter.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/base/error.h"
#include "pipeline/graph/scalar_text.h"

namespace trib::pipeline {

ParameterSpec& ParameterSpec::unit_is(std::string text) {
  unit = std::move(text);
  return *this;
}

ParameterSpec& ParameterSpec::at_least(double value) {
  min = value;
  min_excluded = false;
  return *this;
}

ParameterSpec& ParameterSpec::at_most(double value) {
  max = value;
  max_excluded = false;
  return *this;
}

ParameterSpec& ParameterSpec::above(double value) {
  min = value;
  min_excluded = true;
  return *this;
}

ParameterSpec& ParameterSpec::below(double value) {
  max = value;
  max_excluded = true;
  return *this;
}

ParameterSpec& ParameterSpec::formerly(std::string old_name) {
  former_names.push_back(std::move(old_name));
  return *this;
}

ParameterSpec& ParameterSpec::mandatory() {
  required = true;
  return *this;
}

ParameterSpec& ParameterSpec::or_else(std::string_view yaml) {
  default_text = std::string(yaml);
  return *this;
}

ParameterSpec& ParameterSpec::or_else_number(double value) {
  return or_else(std::string_view(number_text(value)));
}

std::string ParameterSpec::expectation() const {
  std::string text;
  switch (type) {
    case ParameterType::boolean:
      return "true or false";
    case ParameterType::integer:
      text = "an integer";
      break;
    case ParameterType::number:
      text = "a number";
      break;
    case ParameterType::string:
      return "text";
    case ParameterType::choice:
      return fmt::format("one of {}", fmt::join(choices, ", "));
    case ParameterType::duration:
      text = "a duration such as 6h, 90m or 45s";
      break;
    case ParameterType::bytes:
      text = "a number of bytes such as 512MB or 1GiB";
      break;
    case ParameterType::size:
      text = "[height, width]";
      break;
    case ParameterType::strings:
      return "text or a list of text";
    case ParameterType::numbers:
      text = "a list of numbers";
      break;
  }
  const char* const unit_of_range = type == ParameterType::duration ? " seconds" : "";
  const bool closed = min && max && !min_excluded && !max_excluded;
  if (closed) {
    return fmt::format("{} from {} to {}{}", text, number_text(*min), number_text(*max),
                       unit_of_range);
  }
  if (min) {
    text += fmt::format(" {} {}{}", min_excluded ? "above" : "of at least", number_text(*min),
                        unit_of_range);
  }
  if (max) {
    text += fmt::format("{} {} {}{}", min ? " and" : "", max_excluded ? "below" : "of at most",
                        number_text(*max), unit_of_range);
  }
  return text;
}

namespace param {
namespace {

ParameterSpec make(std::string name, ParameterType type, std::string sentence) {
  ParameterSpec spec;
  spec.name = std::move(name);
  spec.type = type;
  spec.sentence = std::move(sentence);
  return spec;
}

}  // namespace

ParameterSpec boolean(std::string name, std::string sentence) {
  return make(std::move(name), ParameterType::boolean, std::move(sentence));
}

ParameterSpec integer(std::string name, std::string sentence) {
  return make(std::move(name), ParameterType::integer, std::move(sentence));
}

ParameterSpec number(std::string name, std::string sentence) {
  return make(std::move(name), ParameterType::number, std::move(sentence));
}

ParameterSpec string(std::string name, std::string sentence) {
  return make(std::move(name), ParameterType::string, std::move(sentence));
}

ParameterSpec choice(std::string name, std::vector<std::string> choices, std::string sentence) {
  ParameterSpec spec = make(std::move(name), ParameterType::choice, std::move(sentence));
  spec.choices = std::move(choices);
  return spec;
}

ParameterSpec duration(std::string name, std::string sentence) {
  return make(std::move(name), ParameterType::duration, std::move(sentence));
}

ParameterSpec bytes(std::string name, std::string sentence) {
  return make(std::move(name), ParameterType::bytes, std::move(sentence)).unit_is("bytes");
}

ParameterSpec size(std::string name, std::string sentence) {
  return make(std::move(name), ParameterType::size, std::move(sentence)).at_least(1);
}

ParameterSpec strings(std::string name, std::string sentence) {
  return make(std::move(name), ParameterType::strings, std::move(sentence));
}

ParameterSpec numbers(std::string name, std::string sentence) {
  return make(std::move(name), ParameterType::numbers, std::move(sentence));
}

}  // namespace param

std::string Origin::text() const {
  switch (kind) {
    case Kind::absent:
      return "not given";
    case Kind::declared_default:
      return "default";
    case Kind::written:
      break;
  }
  if (through.empty()) return mark.text();
  return fmt::format("{} through {}", mark.text(), fmt::join(through, ", "));
}

ParameterValues::ParameterValues(std::vector<ParameterValue> values) : values_(std::move(values)) {}

const ParameterValue& ParameterValues::declared(std::string_view name) const {
  const auto found = std::find_if(values_.begin(), values_.end(),
                                  [&](const ParameterValue& v) { return v.spec.name == name; });
  if (found == values_.end()) {
    throw RuntimeError(fmt::format("parameter '{}' was asked for but not declared", name));
  }
  return *found;
}

template <typename T>
const T& ParameterValues::get(std::string_view name,
                              std::initializer_list<ParameterType> types) const {
  const ParameterValue& value = declared(name);
  if (std::find(types.begin(), types.end(), value.spec.type) == types.end()) {
    throw RuntimeError(
        fmt::format("parameter '{}' was declared as {} and asked for as another type", name,
                    value.spec.expectation()));
  }
  const T* data = std::get_if<T>(&value.data);
  if (data == nullptr) {
    throw RuntimeError(fmt::format("parameter '{}' has no value; ask has() first", name));
  }
  return *data;
}

bool ParameterValues::boolean(std::string_view name) const {
  return get<bool>(name, {ParameterType::boolean});
}

std::int64_t ParameterValues::integer(std::string_view name) const {
  return get<std::int64_t>(name, {ParameterType::integer});
}

double ParameterValues::number(std::string_view name) const {
  return get<double>(name, {ParameterType::number});
}

const std::string& ParameterValues::string(std::string_view name) const {
  return get<std::string>(name, {ParameterType::string, ParameterType::choice});
}

double ParameterValues::duration_seconds(std::string_view name) const {
  return get<double>(name, {ParameterType::duration});
}

std::int64_t ParameterValues::bytes(std::string_view name) const {
  return get<std::int64_t>(name, {ParameterType::bytes});
}

SizeValue ParameterValues::size(std::string_view name) const {
  return get<SizeValue>(name, {ParameterType::size});
}

const std::vector<std::string>& ParameterValues::strings(std::string_view name) const {
  return get<std::vector<std::string>>(name, {ParameterType::strings});
}

const std::vector<double>& ParameterValues::numbers(std::string_view name) const {
  return get<std::vector<double>>(name, {ParameterType::numbers});
}

bool ParameterValues::has(std::string_view name) const {
  return !std::holds_alternative<std::monostate>(declared(name).data);
}

bool ParameterValues::was_given(std::string_view name) const {
  return declared(name).origin.kind == Origin::Kind::written;
}

const SourceMark& ParameterValues::mark(std::string_view name) const {
  return declared(name).origin.mark;
}

const Origin& ParameterValues::origin(std::string_view name) const {
  return declared(name).origin;
}

}  // namespace trib::pipeline
