#include "io/prepared/npy.h"

#include <bit>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::io {

static_assert(std::endian::native == std::endian::little, "the element types are little-endian");

std::string npy_header(std::string_view descr, std::span<const std::int64_t> shape) {
  constexpr std::size_t kPrefix = 10;  // magic, version, length of what follows
  constexpr auto kLength = static_cast<std::size_t>(kNpyHeaderBytes) - kPrefix;
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                                 descr, fmt::join(shape, ", "));
  if (text.size() >= kLength) {
    throw RuntimeError(fmt::format("the shape ({}) is too long for an .npy header of {} bytes",
                                   fmt::join(shape, ", "), kNpyHeaderBytes));
  }
  text.resize(kLength - 1, ' ');
  text += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(kLength);
  header += '\0';
  return header + text;
}

}  // namespace trib::io
