// Cuts back text files that a killed run left, so that another can go on with them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace trib::pipeline {

/// Keep the lines of a file that `keep` says yes to; it is asked once for each, in order. What
/// stands behind the last line break is a line that was not finished, and goes. The file is written
/// aside and renamed. No file: nothing happens. Throws RuntimeError.
void keep_lines(const std::string& path, const std::function<bool(const std::string&)>& keep);

/// The decimal integer a text begins with and that ends with it or before a comma.
std::optional<std::int64_t> leading_integer(const std::string& text);

}  // namespace trib::pipeline
