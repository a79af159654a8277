// Tiles of patches and their products against loops in double.
#include "ops/kernels/channels/patch_tile.h"

#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"

namespace trib::ops {
namespace {

using reference::Index;
using reference::size;
using test::Doubles;
using test::Floats;

struct Images {
  Index batch, channels, patch_height, patch_width, rows, columns;  // rows and columns of patches

  Index pitch() const { return columns * patch_width; }
  Index image() const { return rows * patch_height * pitch(); }
};

class PatchTile : public testing::TestWithParam<std::tuple<Images, bool, bool>> {};

TEST_P(PatchTile, HoldsThePatchesOfItsPositions) {
  const auto& [of, extended, shuffled] = GetParam();
  Floats x = test::random_values("x", of.batch * of.channels * of.image());
  for (std::size_t i = 5; i < x.size(); i += 11) x[i] = std::numeric_limits<float>::quiet_NaN();
  std::vector<std::int64_t> offsets;
  const Index patches = of.rows * of.columns;
  for (Index r = 0; r < of.batch * patches; ++r) {
    const Index n = shuffled ? (r * 7 + 3) % patches : r % patches;
    offsets.push_back(r / patches * of.channels * of.image() +
                      n / of.columns * of.patch_height * of.pitch() +
                      n % of.columns * of.patch_width);
  }
  const ChannelPatchesView view{.x = x.data(),
                                .row_offsets = offsets.data(),
                                .channel_stride = of.image(),
                                .pitch = of.pitch(),
                                .rows = of.batch * patches,
                                .channels = of.channels,
                                .height = of.patch_height,
                                .width = of.patch_width};
  const Index begin = of.channels > 1 ? 1 : 0, extra = extended ? 1 : 0;
  const Index per_channel = view.pixels() + extra;
  Floats tile(size((of.channels - begin) * per_channel * kPositions), 1e9F);
  for (Index block = 0; block < blocks_of(view.rows, kPositions); ++block) {
    load_patch_tile(tile.data(), view, block, begin, of.channels, extended);
    for (Index c = begin; c < of.channels; ++c) {
      for (Index p = 0; p < per_channel; ++p) {
        for (Index r = 0; r < kPositions; ++r) {
          const Index row = std::min(block * kPositions + r, view.rows - 1);
          float expected = 1;
          if (p < view.pixels()) {
            expected = x[size(offsets[size(row)] + c * of.image() +
                              p / of.patch_width * of.pitch() + p % of.patch_width)];
            if (std::isnan(expected)) expected = 0;
          }
          ASSERT_EQ(tile[size(((c - begin) * per_channel + p) * kPositions + r)], expected)
              << "block " << block << " channel " << c << " pixel " << p << " position " << r;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, PatchTile,
    testing::Combine(testing::Values(Images{2, 3, 2, 2, 4, 32}, Images{1, 2, 2, 2, 5, 19},
                                     Images{3, 2, 4, 4, 5, 7}, Images{1, 1, 1, 1, 1, 3},
                                     Images{1, 3, 3, 3, 9, 9}, Images{1, 2, 14, 14, 2, 3},
                                     Images{1, 2, 16, 16, 2, 2}, Images{1, 2, 5, 7, 8, 9}),
                     testing::Bool(), testing::Bool()));

// Extents around those of the registers' tiles.
class TileProducts : public testing::TestWithParam<std::tuple<Index, Index>> {
 protected:
  const Index inner = std::get<0>(GetParam()), dim = std::get<1>(GetParam());
  const Index stride = dim + 3;
  Floats x_kr = test::random_values("x", inner* kPositions);
  Floats v_kd = test::random_values("v", inner* stride);
  Floats dout_rd = test::random_values("dout", kPositions* stride);

  double x(Index k, Index r) const { return x_kr[size(k * kPositions + r)]; }
  double v(Index k, Index d) const { return v_kd[size(k * stride + d)]; }
  double dout(Index r, Index d) const { return dout_rd[size(r * stride + d)]; }
};

TEST_P(TileProducts, MatchTheReference) {
  Floats out_dr(size(dim * kPositions), 1e9F);
  add_tile_product(out_dr.data(), x_kr.data(), v_kd.data(), stride, inner, dim, true);
  add_tile_product(out_dr.data(), x_kr.data(), v_kd.data(), stride, inner, dim, false);
  Doubles expected(out_dr.size());
  for (Index d = 0; d < dim; ++d) {
    for (Index r = 0; r < kPositions; ++r) {
      for (Index k = 0; k < inner; ++k) expected[size(d * kPositions + r)] += 2 * x(k, r) * v(k, d);
    }
  }
  test::expect_close(out_dr, expected, 2e-6, "out_dr");
}

TEST_P(TileProducts, GradientMatchesTheReference) {
  for (const Index positions : {kPositions, Index{37}}) {
    Floats dv_kd(v_kd.size(), 5.0F);
    add_tile_gradient(dv_kd.data(), stride, x_kr.data(), dout_rd.data(), stride, positions, inner,
                      dim, true);
    add_tile_gradient(dv_kd.data(), stride, x_kr.data(), dout_rd.data(), stride, positions, inner,
                      dim, false);
    Doubles expected(dv_kd.size(), 5.0);  // beyond the rows nothing is written
    for (Index k = 0; k < inner; ++k) {
      for (Index d = 0; d < dim; ++d) {
        double sum = 0;
        for (Index r = 0; r < positions; ++r) sum += x(k, r) * dout(r, d);
        expected[size(k * stride + d)] = 2 * sum;
      }
    }
    test::expect_close(dv_kd, expected, 2e-6, "dv_kd");
  }
}

TEST_P(TileProducts, CorrelationMatchesTheReference) {
  Floats dout_dr(size(dim * kPositions), 1e9F), s_r(size(kPositions), 1e9F);
  const Index positions = 41;
  transpose_to_positions(dout_dr.data(), dout_rd.data(), stride, positions, dim);
  correlate_tile(s_r.data(), x_kr.data(), v_kd.data(), stride, dout_dr.data(), inner, dim);
  Doubles expected(s_r.size());
  for (Index r = 0; r < positions; ++r) {
    for (Index k = 0; k < inner; ++k) {
      for (Index d = 0; d < dim; ++d) expected[size(r)] += x(k, r) * v(k, d) * dout(r, d);
    }
  }
  test::expect_close(s_r, expected, 4e-6, "s_r");

  Floats back_rd(size(positions * stride), 5.0F);
  transpose_from_positions(back_rd.data(), stride, dout_dr.data(), positions, dim);
  for (Index r = 0; r < positions; ++r) {
    for (Index d = 0; d < stride; ++d) {
      ASSERT_EQ(back_rd[size(r * stride + d)], d < dim ? dout_rd[size(r * stride + d)] : 5.0F);
    }
  }
}

TEST_P(TileProducts, ScoresMatchTheReference) {
  const Index heads = stride, apart = 2 * kPositions;  // every column of v as a head's weights
  Floats s_hr(size(heads * apart), 5.0F);
  score_tile(s_hr.data(), apart, x_kr.data(), v_kd.data(), stride, inner, heads);
  Doubles expected(s_hr.size(), 5.0);
  for (Index h = 0; h < heads; ++h) {
    for (Index r = 0; r < kPositions; ++r) {
      double sum = 0;
      for (Index k = 0; k < inner; ++k) sum += x(k, r) * v(k, h);
      expected[size(h * apart + r)] = sum;
    }
  }
  test::expect_close(s_hr, expected, 2e-6, "s_hr");
}

INSTANTIATE_TEST_SUITE_P(Extents, TileProducts,
                         testing::Combine(testing::Values<Index>(1, 5, 17, 24, 101),
                                          testing::Values<Index>(1, 7, 16, 32, 37, 48, 64)));

}  // namespace
}  // namespace trib::ops
