// Parameters: declared once, then read from a graph definition with their unit, range and origin.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "pipeline/graph/source_mark.h"

namespace trib::pipeline {

enum class ParameterType {
  boolean,   ///< true, false
  integer,   ///< 64 bits
  number,    ///< finite double
  string,    ///< any text
  choice,    ///< one of a few words
  duration,  ///< "6h", "90m", "1h30m"; kept in seconds
  bytes,     ///< "512MB", "1GiB", 4096
  size,      ///< [height, width], or one number for a square
  strings,   ///< list of text; a scalar is a list of one
  numbers,   ///< list of numbers; a scalar is a list of one
};

/// Declaration of a parameter. Feeds parsing, range checks, `trib options`, the JSON Schema and the
/// stage's page. Build one with the functions of namespace `param` and the with-ers below:
///
///   param::integer("patch", "Side of a square patch.").unit_is("pixels").at_least(1).or_else(4)
struct ParameterSpec {
  std::string name;
  ParameterType type = ParameterType::string;
  std::string sentence;                     ///< what it does, one sentence with a full stop
  std::string unit;                         ///< for people; empty if it has none
  std::optional<std::string> default_text;  ///< as it would be written in YAML
  bool required = false;                    ///< without default and not required: may be absent
  std::optional<double> min, max;           ///< of each number, byte count, second or list element
  bool min_excluded = false, max_excluded = false;
  std::vector<std::string> choices;
  std::vector<std::string> former_names;  ///< still understood, with a warning

  ParameterSpec& unit_is(std::string text);
  ParameterSpec& at_least(double value);
  ParameterSpec& at_most(double value);
  ParameterSpec& above(double value);  ///< greater, not equal
  ParameterSpec& below(double value);  ///< less, not equal
  ParameterSpec& between(double low, double high) { return at_least(low).at_most(high); }
  ParameterSpec& formerly(std::string old_name);
  /// A value must be given.
  ParameterSpec& mandatory();
  /// The default, written as in YAML: or_else("6h"), or_else("[32, 32]"), or_else(0.75).
  ParameterSpec& or_else(std::string_view yaml);
  template <typename T>
  requires std::is_arithmetic_v<T> ParameterSpec& or_else(T value) {
    if constexpr (std::same_as<T, bool>) {
      return or_else(std::string_view(value ? "true" : "false"));
    } else if constexpr (std::integral<T>) {
      return or_else(std::string_view(std::to_string(value)));
    } else {
      return or_else_number(value);
    }
  }

  /// "an integer of at least 1", "one of linear, cross_attention": what messages say is expected.
  std::string expectation() const;

 private:
  ParameterSpec& or_else_number(double value);
};

/// Makers of declarations.
namespace param {
ParameterSpec boolean(std::string name, std::string sentence);
ParameterSpec integer(std::string name, std::string sentence);
ParameterSpec number(std::string name, std::string sentence);
ParameterSpec string(std::string name, std::string sentence);
ParameterSpec choice(std::string name, std::vector<std::string> choices, std::string sentence);
ParameterSpec duration(std::string name, std::string sentence);
ParameterSpec bytes(std::string name, std::string sentence);
ParameterSpec size(std::string name, std::string sentence);
ParameterSpec strings(std::string name, std::string sentence);
ParameterSpec numbers(std::string name, std::string sentence);
}  // namespace param

/// Where a value came from.
struct Origin {
  enum class Kind { absent, declared_default, written };
  Kind kind = Kind::absent;
  SourceMark mark;                   ///< of what was written; of the node for the other kinds
  std::vector<std::string> through;  ///< variables it was put together from, each with its place

  /// "default", "graphs/mine.yaml:9:30", "--set tokens.dim=64",
  /// "graphs/mine.yaml:9:30 through vars.dim (graphs/base.yaml:3:9)".
  std::string text() const;
};

/// [height, width].
using SizeValue = std::array<std::int64_t, 2>;

struct ParameterValue {
  /// By type: boolean; integer and bytes; number and duration (seconds); string and choice; size;
  /// strings; numbers. monostate: declared without default and not given.
  using Data = std::variant<std::monostate, bool, std::int64_t, double, std::string, SizeValue,
                            std::vector<std::string>, std::vector<double>>;
  ParameterSpec spec;
  Data data;
  std::string text;  ///< of a scalar, as written ("6h")
  Origin origin;
};

/// The values of a node's parameters. Asking for a name that was not declared, for another type
/// than the declared one or for a value that is absent is a mistake of the program: RuntimeError.
class ParameterValues {
 public:
  ParameterValues() = default;
  explicit ParameterValues(std::vector<ParameterValue> values);

  bool boolean(std::string_view name) const;
  std::int64_t integer(std::string_view name) const;
  double number(std::string_view name) const;
  /// Of a string or a choice.
  const std::string& string(std::string_view name) const;
  double duration_seconds(std::string_view name) const;
  double duration_hours(std::string_view name) const { return duration_seconds(name) / 3600; }
  std::int64_t bytes(std::string_view name) const;
  SizeValue size(std::string_view name) const;
  const std::vector<std::string>& strings(std::string_view name) const;
  const std::vector<double>& numbers(std::string_view name) const;

  /// Whether there is a value, written or default.
  bool has(std::string_view name) const;
  /// Whether the value was written rather than taken from the declaration.
  bool was_given(std::string_view name) const;
  /// Where to point for a problem with the value: at what was written, else at the node.
  const SourceMark& mark(std::string_view name) const;
  const Origin& origin(std::string_view name) const;

  /// All declared parameters in the order of their declaration.
  const std::vector<ParameterValue>& all() const { return values_; }

 private:
  const ParameterValue& declared(std::string_view name) const;
  template <typename T>
  const T& get(std::string_view name, std::initializer_list<ParameterType> types) const;

  std::vector<ParameterValue> values_;
};

/// Read values from YAML text such as "{patch: 4, size: [32, 32]}", for use without a file.
/// Throws ConfigError listing all mistakes.
ParameterValues parameters_from_text(const std::vector<ParameterSpec>& specs,
                                     std::string_view yaml);

}  // namespace trib::pipeline
