#include "ops/kernels/patchify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"

namespace trib::ops {
namespace {

using reference::size;
using test::Floats;

struct Shape {
  std::int64_t batch, channels, rows, columns, patch;  // rows x columns patches
};

class Patchify : public testing::TestWithParam<Shape> {
 protected:
  // Pixel (row, column) of patch `token` of image b, channel c.
  float pixel(std::int64_t b, std::int64_t c, std::int64_t token, std::int64_t row,
              std::int64_t column) const {
    const std::int64_t y = token / columns * patch + row, x = token % columns * patch + column;
    return image[size(((b * channels + c) * height + y) * width + x)];
  }

  const std::int64_t batch = GetParam().batch, channels = GetParam().channels;
  const std::int64_t columns = GetParam().columns, patch = GetParam().patch;
  const std::int64_t tokens = GetParam().rows * columns, pixels = patch * patch;
  const std::int64_t height = GetParam().rows * patch, width = columns * patch;
  Floats image = test::random_values("image", batch* channels* height* width);
};

TEST_P(Patchify, ChannelsOfAllTokens) {
  Floats patches(image.size());
  patchify_channels(patches.data(), image.data(), nullptr, 0, batch, channels, height, width,
                    patch);
  std::size_t i = 0;
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t n = 0; n < tokens; ++n) {
      for (std::int64_t c = 0; c < channels; ++c) {
        for (std::int64_t p = 0; p < pixels; ++p) {
          ASSERT_EQ(patches[i++], pixel(b, c, n, p / patch, p % patch));
        }
      }
    }
  }
}

TEST_P(Patchify, ChannelsOfVisibleTokens) {
  const std::int64_t taken = (tokens + 1) / 2;
  std::vector<std::int32_t> visible;
  for (std::int64_t b = 0; b < batch; ++b) {
    const auto order = RandomStream(1, "mask").substream(size(b)).permutation(tokens);
    for (std::int64_t j = 0; j < taken; ++j) {
      visible.push_back(static_cast<std::int32_t>(order[size(j)]));
    }
  }
  Floats patches(size(batch * taken * channels * pixels));
  patchify_channels(patches.data(), image.data(), visible.data(), taken, batch, channels, height,
                    width, patch);
  std::size_t i = 0;
  for (std::int64_t j = 0; j < batch * taken; ++j) {
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t p = 0; p < pixels; ++p) {
        ASSERT_EQ(patches[i++], pixel(j / taken, c, visible[size(j)], p / patch, p % patch));
      }
    }
  }
}

TEST_P(Patchify, PixelsWithTheChannelFastestAndBack) {
  Floats patches(image.size()), back(image.size());
  patchify(patches.data(), image.data(), batch, channels, height, width, patch);
  std::size_t i = 0;
  for (std::int64_t n = 0; n < batch * tokens; ++n) {
    for (std::int64_t p = 0; p < pixels; ++p) {
      for (std::int64_t c = 0; c < channels; ++c) {
        ASSERT_EQ(patches[i++], pixel(n / tokens, c, n % tokens, p / patch, p % patch));
      }
    }
  }
  unpatchify(back.data(), patches.data(), batch, channels, height, width, patch);
  EXPECT_EQ(back, image);
}

INSTANTIATE_TEST_SUITE_P(Shapes, Patchify,
                         testing::Values(Shape{1, 1, 1, 1, 1}, Shape{2, 3, 2, 5, 3},
                                         Shape{3, 17, 4, 3, 4}, Shape{2, 5, 3, 3, 8},
                                         Shape{1, 2, 2, 2, 16}, Shape{2, 32, 2, 4, 8},
                                         Shape{1, 35, 3, 5, 7}),
                         [](const auto& test_info) {
                           const Shape& shape = test_info.param;
                           return std::to_string(shape.batch) + "x" +
                                  std::to_string(shape.channels) + "x" +
                                  std::to_string(shape.rows) + "x" + std::to_string(shape.columns) +
                                  "_patch" + std::to_string(shape.patch);
                         });

TEST(PatchifyErrors, NameWhatWasFound) {
  Floats image(2 * 8 * 8), patches(image.size());
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  const std::vector<std::int32_t> visible{0, 3, 4, 1};
  EXPECT_THAT(message([&] {
                patchify_channels(patches.data(), image.data(), visible.data(), 2, 2, 1, 8, 8, 4);
              }),
              testing::HasSubstr("token 0 of image 1: expected a number in [0, 4), found 4"));
  EXPECT_THAT(message([&] { patchify(patches.data(), image.data(), 2, 1, 8, 8, 3); }),
              testing::HasSubstr("3 x 3, found 8 x 8"));
}

}  // namespace
}  // namespace trib::ops
