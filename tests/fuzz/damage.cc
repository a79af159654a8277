#include "tests/fuzz/damage.h"

#include <algorithm>
#include <random>

#include <fmt/format.h>

namespace trib::test {
namespace {

struct Damaged {
  std::string contents, how;
};

class Damage {
 public:
  Damage(const std::string& contents, std::uint64_t number)
      : result_{contents, ""}, random_(number * 0x9E3779B97F4A7C15U + 1) {
    switch (below(8)) {
      case 0:
      case 1:
        cut_off();
        break;
      case 2:
      case 3:
        flip_bits();
        break;
      case 4:
      case 5:
        change_bytes();
        break;
      case 6:
        overwrite_block();
        break;
      default:
        insert_bytes();
        break;
    }
  }
  Damaged result() && { return std::move(result_); }

 private:
  std::uint64_t below(std::uint64_t bound) {
    return std::uniform_int_distribution<std::uint64_t>(0, bound - 1)(random_);
  }
  std::string& bytes() { return result_.contents; }
  // A place in the file; every second one in its first bytes.
  std::size_t place() {
    constexpr std::size_t kHeader = 600;
    return below(below(2) == 0 ? std::min(kHeader, bytes().size()) : bytes().size());
  }

  void cut_off() {
    const std::size_t size = place();
    result_.how = fmt::format("cut off at {} of {} bytes", size, bytes().size());
    bytes().resize(size);
  }
  void flip_bits() {
    for (std::uint64_t i = 0, n = 1 + below(4); i < n; ++i) {
      const std::size_t at = place();
      const auto bit = static_cast<unsigned>(below(8));
      bytes()[at] = static_cast<char>(static_cast<unsigned char>(bytes()[at]) ^ (1U << bit));
      result_.how += fmt::format("bit {} of byte {} flipped; ", bit, at);
    }
  }
  void change_bytes() {
    // Values that counts, offsets and signs are sensitive to come often.
    constexpr unsigned char kNasty[] = {0x00, 0xFF, 0x7F, 0x80, 0x01};
    for (std::uint64_t i = 0, n = 1 + below(6); i < n; ++i) {
      const std::size_t at = place();
      const auto value = static_cast<unsigned char>(below(2) == 0 ? kNasty[below(5)] : below(256));
      bytes()[at] = static_cast<char>(value);
      result_.how += fmt::format("byte {} set to {}; ", at, value);
    }
  }
  void overwrite_block() {
    const std::size_t at = place();
    const std::size_t size = std::min<std::size_t>(1 + below(256), bytes().size() - at);
    const bool zero = below(2) == 0;
    for (std::size_t i = 0; i < size; ++i) {
      bytes()[at + i] = zero ? '\0' : static_cast<char>(below(256));
    }
    result_.how = fmt::format("{} bytes at {} set to {}", size, at, zero ? "zero" : "noise");
  }
  void insert_bytes() {
    const std::size_t at = place(), size = 1 + below(16);
    bytes().insert(at, size, static_cast<char>(below(256)));
    result_.how = fmt::format("{} bytes put in at {}", size, at);
  }

  Damaged result_;
  std::mt19937_64 random_;
};

}  // namespace

std::string damaged(const std::string& contents, std::uint64_t number) {
  return Damage(contents, number).result().contents;
}

std::string describe_damage(const std::string& contents, std::uint64_t number) {
  return Damage(contents, number).result().how;
}

}  // namespace trib::test
