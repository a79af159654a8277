#include "ops/kernels/patchify.h"

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/base/parallel.h"
#include "ops/kernels/known_extent.h"
#include "ops/kernels/reduce.h"

namespace trib::ops {
namespace {

// The patches of one image as a grid.
struct PatchGrid {
  std::int64_t width, patch, columns, tokens;

  PatchGrid(std::int64_t image_height, std::int64_t image_width, std::int64_t patch_size)
      : width(image_width),
        patch(patch_size),
        columns(image_width / patch_size),
        tokens(image_height / patch_size * columns) {
    if (image_height % patch != 0 || image_width % patch != 0) {
      throw ShapeError(
          fmt::format("patchify: expected an image of whole patches of {} x {}, "
                      "found {} x {}",
                      patch, patch, image_height, image_width));
    }
  }
  // First pixel of a token's patch within its channel.
  std::int64_t at(std::int64_t token) const {
    return token / columns * patch * width + token % columns * patch;
  }
};

// Call move(pixel of x_bchw, pixel of patches_bnpc) for every pixel of the images.
template <class Move>
void for_each_pixel(std::int64_t batch, std::int64_t channels, std::int64_t height,
                    std::int64_t width, std::int64_t patch, const Move& move) {
  const PatchGrid grid(height, width, patch);
  const std::int64_t patch_size = channels * patch * patch;
  parallel_for(batch * grid.tokens, row_grain(patch_size),
               [=](std::int64_t begin, std::int64_t end) {
                 with_known_extent<4, 8, 16>(patch, [=](auto edge) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t b = i / grid.tokens, token = i % grid.tokens;
                     for (std::int64_t c = 0; c < channels; ++c) {
                       const std::int64_t x = (b * channels + c) * height * width + grid.at(token);
                       const std::int64_t y = i * patch_size + c;
                       for (std::int64_t row = 0; row < edge; ++row) {
                         for (std::int64_t column = 0; column < edge; ++column) {
                           move(x + row * width + column, y + (row * edge + column) * channels);
                         }
                       }
                     }
                   }
                 });
               });
}

}  // namespace

void patchify_channels(float* patches_bncp, const float* x_bchw, const std::int32_t* visible,
                       std::int64_t num_visible, std::int64_t batch, std::int64_t channels,
                       std::int64_t height, std::int64_t width, std::int64_t patch) {
  const PatchGrid grid(height, width, patch);
  const std::int64_t taken = visible == nullptr ? grid.tokens : num_visible;
  const std::int64_t pixels = patch * patch;
  const auto token_of = [=](std::int64_t i) -> std::int64_t {
    if (visible == nullptr) return i % grid.tokens;
    if (visible[i] < 0 || visible[i] >= grid.tokens) {
      throw RuntimeError(
          fmt::format("patchify: visible token {} of image {}: expected a number in "
                      "[0, {}), found {}",
                      i % taken, i / taken, grid.tokens, visible[i]));
    }
    return visible[i];
  };
  parallel_for(
      batch * taken, row_grain(channels * pixels), [=](std::int64_t begin, std::int64_t end) {
        with_known_extent<4, 8, 16>(patch, [=](auto edge) {
          for (std::int64_t i = begin; i < end; ++i) {
            const float* x = x_bchw + i / taken * channels * height * width + grid.at(token_of(i));
            float* y = patches_bncp + i * channels * pixels;
            for (std::int64_t c = 0; c < channels; ++c, x += height * width) {
              for (std::int64_t row = 0; row < edge; ++row) {
                for (std::int64_t column = 0; column < edge; ++column) {
                  *y++ = x[row * width + column];
                }
              }
            }
          }
        });
      });
}

void patchify(float* patches_bnpc, const float* x_bchw, std::int64_t batch, std::int64_t channels,
              std::int64_t height, std::int64_t width, std::int64_t patch) {
  for_each_pixel(batch, channels, height, width, patch,
                 [=](std::int64_t x, std::int64_t y) { patches_bnpc[y] = x_bchw[x]; });
}

void unpatchify(float* x_bchw, const float* patches_bnpc, std::int64_t batch, std::int64_t channels,
                std::int64_t height, std::int64_t width, std::int64_t patch) {
  for_each_pixel(batch, channels, height, width, patch,
                 [=](std::int64_t x, std::int64_t y) { x_bchw[x] = patches_bnpc[y]; });
}

}  // namespace trib::ops
