#include "io/unpack.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

namespace trib::io {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// One value as the definition says.
template <class T>
float expected_value(T raw, const Packing& packing, const Affine& affine) {
  const auto number = static_cast<double>(raw);
  if (number < packing.valid_min || number > packing.valid_max || number != number) return NAN;
  for (const double m : packing.missing) {
    if (number == m) return NAN;
  }
  const double scale = packing.scale * affine.scale;
  return static_cast<float>(number * scale + (packing.offset * affine.scale + affine.offset));
}

// Blocks of all axis orders, directions and sizes around the tiles, with a rim that must stay.
template <class T>
void check_blocks(const Packing& packing, bool with_affine) {
  std::minstd_rand random(7);
  const DType dtype = DTypeOf<T>::value;
  for (int trial = 0; trial < 60; ++trial) {
    std::array<std::int64_t, 3> extents;
    for (std::int64_t& e : extents) e = 1 + static_cast<std::int64_t>(random() % 36);
    std::array<std::size_t, 3> order{0, 1, 2};
    std::shuffle(order.begin(), order.end(), random);
    std::array<std::int64_t, 3> strides{};
    std::int64_t count = 1;
    for (const std::size_t axis : order) {
      strides[axis] = count;
      count *= extents[axis] + static_cast<std::int64_t>(random() % 2);
    }
    std::vector<T> raw(static_cast<std::size_t>(count));
    for (T& v : raw)
      v = static_cast<T>(static_cast<int>(random() % 100) - (std::is_signed_v<T> ? 50 : 0));
    std::int64_t first = 0;
    for (const std::size_t axis : {1U, 2U}) {
      if (random() % 2 == 0) continue;
      first += (extents[axis] - 1) * strides[axis];
      strides[axis] = -strides[axis];
    }
    std::vector<Affine> affine(with_affine ? static_cast<std::size_t>(extents[0]) : 0);
    for (Affine& a : affine) {
      a = {0.5 + static_cast<double>(random() % 8), static_cast<double>(random() % 5)};
    }
    const std::int64_t stride_y = extents[2] + 3, stride_c = extents[1] * stride_y + 5;
    std::vector<float> out(static_cast<std::size_t>(extents[0] * stride_c), -777);
    std::vector<float> expected = out;
    for (std::int64_t c = 0; c < extents[0]; ++c) {
      for (std::int64_t y = 0; y < extents[1]; ++y) {
        for (std::int64_t x = 0; x < extents[2]; ++x) {
          const T v = raw[static_cast<std::size_t>(first + c * strides[0] + y * strides[1] +
                                                   x * strides[2])];
          expected[static_cast<std::size_t>(c * stride_c + y * stride_y + x)] = expected_value(
              v, packing, with_affine ? affine[static_cast<std::size_t>(c)] : Affine{});
        }
      }
    }
    const auto* bytes = reinterpret_cast<const std::byte*>(raw.data() + first);
    unpack({bytes, dtype, extents, strides}, packing, affine, {out.data(), stride_c, stride_y});
    for (std::size_t i = 0; i < out.size(); ++i) {
      const bool same = std::isnan(expected[i]) ? std::isnan(out[i]) : out[i] == expected[i];
      ASSERT_TRUE(same) << name_of(dtype) << " trial " << trial << " element " << i << ": "
                        << out[i] << ", expected " << expected[i];
    }
  }
}

TEST(Unpack, FollowsTheDefinitionForAllTypesAndLayouts) {
  const std::vector<Packing> packings{{},
                                      {0.25, 8, {}},
                                      {1, 0, {7}},
                                      {2, -3, {7, 11}},
                                      {1, 0, {1, 2, 3, 250, -1e30, NAN}},
                                      {0.5, 1, {12}, 5, 40},
                                      {1, 0, {}, -kInfinity, 30}};
  for (const Packing& packing : packings) {
    for (const bool with_affine : {false, true}) {
      check_blocks<float>(packing, with_affine);
      check_blocks<double>(packing, with_affine);
      check_blocks<std::int8_t>(packing, with_affine);
      check_blocks<std::uint8_t>(packing, with_affine);
      check_blocks<std::int16_t>(packing, with_affine);
      check_blocks<std::uint16_t>(packing, with_affine);
      check_blocks<std::int32_t>(packing, with_affine);
      check_blocks<std::uint32_t>(packing, with_affine);
      check_blocks<std::int64_t>(packing, with_affine);
      check_blocks<std::uint64_t>(packing, with_affine);
    }
  }
}

TEST(Unpack, KeepsNumbersAsTheyAreWithoutPacking) {
  const std::vector<float> raw{-0.0F, 1e-42F, NAN, std::numeric_limits<float>::infinity(), 3.25F};
  std::vector<float> out(raw.size());
  unpack({reinterpret_cast<const std::byte*>(raw.data()), DType::f32, {1, 1, 5}, {0, 0, 1}}, {},
         out.data());
  EXPECT_EQ(std::memcmp(raw.data(), out.data(), 5 * sizeof(float)), 0);
}

TEST(Unpack, FillsABlockFromOneElement) {
  const std::int16_t raw = 4;
  std::vector<float> out(2 * 3 * 5);
  unpack({reinterpret_cast<const std::byte*>(&raw), DType::i16, {2, 3, 5}, {0, 0, 0}}, {0.5, 1, {}},
         out.data());
  EXPECT_EQ(out, std::vector<float>(out.size(), 3));
}

}  // namespace
}  // namespace trib::io
