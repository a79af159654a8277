// Numbers, durations and byte counts read from text, whatever the locale.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trib::pipeline {

/// All of these read the whole text or return nothing.

/// A decimal integer of 64 bits, with a sign if wished.
std::optional<std::int64_t> parse_integer(std::string_view text);
/// A finite number: 3, -0.5, 1.5e-4.
std::optional<double> parse_number(std::string_view text);
/// true or false.
std::optional<bool> parse_boolean(std::string_view text);
/// Seconds of a duration: 45s, 90m, 6h, 2d, 250ms, or several in a row: 1h30m.
std::optional<double> parse_duration(std::string_view text);
/// Bytes: 4096, 512MB (10^6), 1.5GB, 512MiB (2^20).
std::optional<std::int64_t> parse_bytes(std::string_view text);

/// Write the shortest text that reads back as the same number.
std::string number_text(double value);

}  // namespace trib::pipeline
