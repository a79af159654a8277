// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC'11).
//
// A number is a function of (seed, name, index) and of nothing else: not of the rank, the thread or
// what was drawn before.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace trib {

/// One Philox4x32-10 block.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

/// The stream of random numbers that belongs to a seed and a name.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::string_view name);
  /// A stream of its own for each value of `id` (a sample, an epoch).
  RandomStream substream(std::uint64_t id) const;

  /// 64 uniform bits.
  std::uint64_t bits(std::uint64_t index) const;
  /// For many numbers at once: the four words of kLanes consecutive indices, [word][index - first].
  /// The first two words of an index are the halves of its bits(), low one first.
  static constexpr std::size_t kLanes = 8;
  using Words = std::array<std::array<std::uint32_t, kLanes>, 4>;
  void words(Words& words, std::uint64_t first) const;
  /// Uniform in [0, 1), 24 bits.
  float uniform(std::uint64_t index) const;
  /// Uniform integer in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t index, std::uint64_t bound) const;
  /// Standard normal (Box-Muller in double).
  float normal(std::uint64_t index) const;
  /// Normal(0, stddev) truncated to two standard deviations, by the inverse of the distribution
  /// function (as torch.nn.init.trunc_normal_ with a = -2 stddev, b = 2 stddev).
  float truncated_normal(std::uint64_t index, float stddev) const;

  /// Random permutation of 0 .. count - 1 (Fisher-Yates).
  std::vector<std::int64_t> permutation(std::int64_t count) const;

 private:
  explicit RandomStream(std::uint64_t key) : key_(key) {}
  std::uint64_t key_;
};

}  // namespace trib
