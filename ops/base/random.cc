#include "ops/base/random.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include <xxhash.h>

namespace trib {
namespace {

using Block = std::array<std::uint32_t, 4>;

constexpr double kInverse2To53 = 0x1p-53;

// Of Philox4x32-10.
constexpr int kRounds = 10;
constexpr std::uint64_t kFactor0 = 0xD2511F53, kFactor1 = 0xCD9E8D57;
constexpr std::uint32_t kKeyStep0 = 0x9E3779B9, kKeyStep1 = 0xBB67AE85;

// What a block is drawn for, so that draws and keys of substreams never share a counter.
enum class Purpose : std::uint32_t { draw = 0, substream = 1 };

Block draw_block(std::uint64_t key, std::uint64_t index, Purpose purpose) {
  return philox4x32({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                     static_cast<std::uint32_t>(purpose), 0},
                    {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
}

std::uint64_t join(std::uint32_t low, std::uint32_t high) {
  return static_cast<std::uint64_t>(high) << 32 | low;
}

// Horner's rule, constant term first.
template <std::size_t kTerms>
double polynomial(const std::array<double, kTerms>& terms, double x) {
  double sum = terms.back();
  for (std::size_t i = kTerms - 1; i-- > 0;) sum = sum * x + terms[i];
  return sum;
}

// Quantile of the standard normal distribution for probabilities above exp(-25), accurate to 1e-16
// (Wichura 1988, algorithm AS 241, PPND16 without its far tails).
double normal_quantile(double probability) {
  constexpr std::array kCentreTop{3.3871328727963666080e0,  1.3314166789178437745e+2,
                                  1.9715909503065514427e+3, 1.3731693765509461125e+4,
                                  4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                  3.3430575583588128105e+4, 2.5090809287301226727e+3};
  constexpr std::array kCentreBottom{1.0,
                                     4.2313330701600911252e+1,
                                     6.8718700749205790830e+2,
                                     5.3941960214247511077e+3,
                                     2.1213794301586595867e+4,
                                     3.9307895800092710610e+4,
                                     2.8729085735721942674e+4,
                                     5.2264952788528545610e+3};
  constexpr std::array kTailTop{1.42343711074968357734e0,  4.63033784615654529590e0,
                                5.76949722146069140550e0,  3.64784832476320460504e0,
                                1.27045825245236838258e0,  2.41780725177450611770e-1,
                                2.27238449892691845833e-2, 7.74545014278341407640e-4};
  constexpr std::array kTailBottom{1.0,
                                   2.05319162663775882187e0,
                                   1.67638483018380384940e0,
                                   6.89767334985100004550e-1,
                                   1.48103976427480074590e-1,
                                   1.51986665636164571966e-2,
                                   5.47593808499534494600e-4,
                                   1.05075007164441684324e-9};
  const double q = probability - 0.5;
  if (std::abs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * polynomial(kCentreTop, r) / polynomial(kCentreBottom, r);
  }
  const double r = std::sqrt(-std::log(q < 0 ? probability : 1 - probability)) - 1.6;
  return std::copysign(polynomial(kTailTop, r) / polynomial(kTailBottom, r), q);
}

}  // namespace

Block philox4x32(Block counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t product0 = kFactor0 * counter[0];
    const std::uint64_t product1 = kFactor1 * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key[0] += kKeyStep0;
    key[1] += kKeyStep1;
  }
  return counter;
}

RandomStream::RandomStream(std::uint64_t seed, std::string_view name)
    : key_(XXH3_64bits_withSeed(name.data(), name.size(), seed)) {}

RandomStream RandomStream::substream(std::uint64_t id) const {
  const Block block = draw_block(key_, id, Purpose::substream);
  return RandomStream(join(block[0], block[1]));
}

std::uint64_t RandomStream::bits(std::uint64_t index) const {
  const Block block = draw_block(key_, index, Purpose::draw);
  return join(block[0], block[1]);
}

void RandomStream::words(Words& words, std::uint64_t first) const {
  for (std::size_t i = 0; i < kLanes; ++i) {
    words[0][i] = static_cast<std::uint32_t>(first + i);
    words[1][i] = static_cast<std::uint32_t>((first + i) >> 32);
    words[2][i] = static_cast<std::uint32_t>(Purpose::draw);
    words[3][i] = 0;
  }
  auto key0 = static_cast<std::uint32_t>(key_), key1 = static_cast<std::uint32_t>(key_ >> 32);
  for (int round = 0; round < kRounds; ++round) {
#pragma omp simd
    for (std::size_t i = 0; i < kLanes; ++i) {
      const std::uint64_t product0 = kFactor0 * words[0][i];
      const std::uint64_t product1 = kFactor1 * words[2][i];
      words[0][i] = static_cast<std::uint32_t>(product1 >> 32) ^ words[1][i] ^ key0;
      words[1][i] = static_cast<std::uint32_t>(product1);
      words[2][i] = static_cast<std::uint32_t>(product0 >> 32) ^ words[3][i] ^ key1;
      words[3][i] = static_cast<std::uint32_t>(product0);
    }
    key0 += kKeyStep0;
    key1 += kKeyStep1;
  }
}

float RandomStream::uniform(std::uint64_t index) const {
  return static_cast<float>(bits(index) >> 40) * 0x1p-24F;
}

std::uint64_t RandomStream::below(std::uint64_t index, std::uint64_t bound) const {
  // The upper half of a 64 x 64 bit product: its bias is below bound / 2^64.
  __extension__ using Product = unsigned __int128;
  return static_cast<std::uint64_t>(static_cast<Product>(bits(index)) * bound >> 64);
}

float RandomStream::normal(std::uint64_t index) const {
  const Block block = draw_block(key_, index, Purpose::draw);
  const double radius_bits = static_cast<double>(join(block[0], block[1]) >> 11);
  const double angle_bits = static_cast<double>(join(block[2], block[3]) >> 11);
  const double radius = std::sqrt(-2 * std::log((radius_bits + 1) * kInverse2To53));
  return static_cast<float>(radius * std::cos(2 * std::numbers::pi * angle_bits * kInverse2To53));
}

float RandomStream::truncated_normal(std::uint64_t index, float stddev) const {
  constexpr double kBelowMinusTwo = 0.022750131948179207200;  // P(x < -2)
  const double position = (static_cast<double>(bits(index) >> 11) + 0.5) * kInverse2To53;
  const double probability = kBelowMinusTwo + position * (1 - 2 * kBelowMinusTwo);
  return static_cast<float>(stddev * normal_quantile(probability));
}

std::vector<std::int64_t> RandomStream::permutation(std::int64_t count) const {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[below(i, i)]);
  return order;
}

}  // namespace trib
