#include "io/raster/tiff_lzw.h"

#include <array>
#include <cstdint>
#include <cstring>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr std::uint32_t kClear = 256;
constexpr std::uint32_t kEnd = 257;
constexpr std::uint32_t kFirstFree = 258;
constexpr std::uint32_t kCodes = 4096;
constexpr int kLeastBits = 9;
constexpr int kMostBits = 12;

/// Codes of growing width, highest bit first.
class Codes {
 public:
  explicit Codes(std::span<const std::byte> bytes) : bytes_(bytes) {}

  /// The next code; kEnd after the last byte.
  std::uint32_t next(int bits) {
    while (held_ < bits) {
      if (at_ == bytes_.size()) return kEnd;
      window_ = window_ << 8 | std::to_integer<std::uint64_t>(bytes_[at_++]);
      held_ += 8;
    }
    held_ -= bits;
    return static_cast<std::uint32_t>(window_ >> held_) & ((1u << bits) - 1);
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  std::uint64_t window_ = 0;
  int held_ = 0;
};

/// Where in the output the string of a code was written first.
struct Known {
  std::size_t place;
  std::size_t length;
};

}  // namespace

void expand_lzw(std::span<const std::byte> stored, std::span<std::byte> out) {
  if (stored.size() >= 2 && stored[0] == std::byte{0} &&
      (stored[1] & std::byte{1}) != std::byte{0}) {
    throw DataError("LZW codes in the order of old writers");
  }
  Codes codes(stored);
  std::array<Known, kCodes> known;
  std::uint32_t free = kFirstFree;
  int bits = kLeastBits;
  bool has_last = false;
  Known last{};
  std::size_t at = 0;
  while (at < out.size()) {
    const std::uint32_t code = codes.next(bits);
    if (code == kEnd) {
      throw DataError(fmt::format("LZW data end after {} of {} bytes", at, out.size()));
    }
    if (code == kClear) {
      free = kFirstFree;
      bits = kLeastBits;
      has_last = false;
      continue;
    }
    // The string before, and what follows it in the output: the first byte of this one.
    if (has_last) {
      if (free == kCodes) throw DataError("LZW codes run out");
      known[free++] = {last.place, last.length + 1};
      if (free == (1u << bits) - 1 && bits < kMostBits) ++bits;
    }
    if (code < kClear) {
      last = {at, 1};
      out[at++] = static_cast<std::byte>(code);
    } else {
      if (code >= free) throw DataError(fmt::format("LZW code {} before it is defined", code));
      const Known string = known[code];
      last = {at, string.length};
      const std::size_t count = std::min(string.length, out.size() - at);
      const std::byte* from = out.data() + string.place;
      std::byte* to = out.data() + at;
      // The string may end with the first byte of this very copy.
      for (std::size_t i = 0; i < count; ++i) to[i] = from[i];
      at += count;
    }
    has_last = true;
  }
}

}  // namespace trib::io
