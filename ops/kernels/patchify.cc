#include "ops/kernels/patchify.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/base/kernel_profile.h"
#include "ops/base/parallel.h"
#include "ops/kernels/known_extent.h"
#include "ops/kernels/reduce.h"
#include "ops/kernels/vector/float_vector.h"
#include "ops/kernels/vector/stream_store.h"
#include "ops/kernels/vector/vector_transpose.h"

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

// Squares of pixels of a row and channels go through registers: images hold the pixels of a channel
// side by side, patches with the channel fastest the channels of a pixel. Fewer channels than this
// leave too much of them empty.
constexpr std::int64_t kFewChannels = 4;

// Images and patches_bnpc, and how they are laid out.
struct Both {
  PatchGrid grid;
  std::int64_t channels, plane;  // plane: pixels of a channel

  // First channel of the pixel in row `row` of the image, column `column`.
  std::int64_t patch_pixel(std::int64_t b, std::int64_t row, std::int64_t column) const {
    const std::int64_t token = row / grid.patch * grid.columns + column / grid.patch;
    const std::int64_t pixel = row % grid.patch * grid.patch + column % grid.patch;
    return ((b * grid.tokens + token) * grid.patch * grid.patch + pixel) * channels;
  }
};

template <class Body>
void with_extent(std::int64_t left, const Body& body) {
  if (left >= simd::kLanes) {
    body(simd::Whole{});
  } else {
    body(simd::First{left});
  }
}

// One square: pixels from `column` on of a row, channels from c on. x: that pixel of channel c.
// The patches of its pixels begin at y_at[0], y_at[1], ...
template <class Writer>
void square_to_patches(float* patches, const std::int64_t* y_at, const float* x, std::int64_t plane,
                       std::int64_t pixels, std::int64_t channels, Writer write) {
  simd::Square square{};
  with_extent(pixels, [&](auto extent) {
    for (std::int64_t c = 0; c < std::min(channels, simd::kLanes); ++c) {
      square[static_cast<std::size_t>(c)] = simd::load(x + c * plane, extent);
    }
  });
  simd::transpose(square);
  with_extent(channels, [&](auto extent) {
    for (std::int64_t i = 0; i < std::min(pixels, simd::kLanes); ++i) {
      write(patches + y_at[i], square[static_cast<std::size_t>(i)], extent);
    }
  });
}

template <class Writer>
void square_to_image(float* x, const float* patches, const std::int64_t* y_at, std::int64_t plane,
                     std::int64_t pixels, std::int64_t channels, Writer write) {
  simd::Square square{};
  with_extent(channels, [&](auto extent) {
    for (std::int64_t i = 0; i < std::min(pixels, simd::kLanes); ++i) {
      square[static_cast<std::size_t>(i)] = simd::load(patches + y_at[i], extent);
    }
  });
  simd::transpose(square);
  with_extent(pixels, [&](auto extent) {
    for (std::int64_t c = 0; c < std::min(channels, simd::kLanes); ++c) {
      write(x + c * plane, square[static_cast<std::size_t>(c)], extent);
    }
  });
}

// Call move(pixel of x_bchw, pixels of patches_bnpc, pixels, channels, writer) for every square of
// the images, whole rows of patches at a time: their part of each channel lies together.
template <class Move>
void for_each_square(const Both& both, std::int64_t batch, bool streams, const Move& move) {
  const PatchGrid& grid = both.grid;
  const std::int64_t rows = grid.tokens / grid.columns;  // of patches
  const std::int64_t strip = grid.patch * grid.width;    // pixels of one
  const auto body = [=](std::int64_t begin, std::int64_t end, auto write) {
    std::array<std::int64_t, static_cast<std::size_t>(simd::kLanes)> y_at;
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t b = i / rows, first_row = i % rows * grid.patch;
      for (std::int64_t c = 0; c < both.channels; c += simd::kLanes) {
        for (std::int64_t row = first_row; row < first_row + grid.patch; ++row) {
          const std::int64_t x = (b * both.channels + c) * both.plane + row * grid.width;
          std::int64_t y = both.patch_pixel(b, row, 0) + c, in_patch = 0;
          for (std::int64_t column = 0; column < grid.width; column += simd::kLanes) {
            const std::int64_t pixels = std::min(grid.width - column, simd::kLanes);
            for (std::int64_t p = 0; p < pixels; ++p) {
              y_at[static_cast<std::size_t>(p)] = y;
              y += both.channels;
              if (++in_patch == grid.patch) {  // on to this row of the next patch
                in_patch = 0;
                y += (grid.patch - 1) * grid.patch * both.channels;
              }
            }
            move(x + column, y_at.data(), pixels, both.channels - c, write);
          }
        }
      }
    }
  };
  parallel_for_writing(streams, batch * rows, row_grain(strip * both.channels), body);
}

// Call move(pixel of x_bchw, pixel of patches_bnpc) for every pixel of the images.
template <class Move>
void for_each_pixel(const Both& both, std::int64_t batch, const Move& move) {
  const PatchGrid& grid = both.grid;
  const std::int64_t channels = both.channels, patch_size = channels * grid.patch * grid.patch;
  parallel_for(
      batch * grid.tokens, row_grain(patch_size), [=](std::int64_t begin, std::int64_t end) {
        with_known_extent<4, 8, 16>(grid.patch, [=](auto edge) {
          for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t b = i / grid.tokens, token = i % grid.tokens;
            for (std::int64_t c = 0; c < channels; ++c) {
              const std::int64_t x = (b * channels + c) * both.plane + grid.at(token);
              const std::int64_t y = i * patch_size + c;
              for (std::int64_t row = 0; row < edge; ++row) {
                for (std::int64_t column = 0; column < edge; ++column) {
                  move(x + row * grid.width + column, y + (row * edge + column) * channels);
                }
              }
            }
          }
        });
      });
}

double bytes_moved(std::int64_t count) {
  return 2.0 * static_cast<double>(sizeof(float)) * static_cast<double>(count);
}

}  // namespace

void patchify_channels(float* patches_bncp, const float* x_bchw, const std::int32_t* visible,
                       std::int64_t num_visible, std::int64_t batch, std::int64_t channels,
                       std::int64_t height, std::int64_t width, std::int64_t patch) {
  const PatchGrid grid(height, width, patch);
  const std::int64_t taken = visible == nullptr ? grid.tokens : num_visible;
  const std::int64_t pixels = patch * patch;
  const KernelScope scope("patchify_channels", {batch, channels, taken, pixels}, 0,
                          bytes_moved(batch * taken * channels * pixels));
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
  const Both both{PatchGrid(height, width, patch), channels, height * width};
  const double bytes = bytes_moved(batch * channels * both.plane);
  const KernelScope scope("patchify", {batch, channels, height, width}, 0, bytes);
  if (channels < kFewChannels) {
    for_each_pixel(both, batch,
                   [=](std::int64_t x, std::int64_t y) { patches_bnpc[y] = x_bchw[x]; });
    return;
  }
  const bool streams = bytes > kStreamBytes && can_stream(patches_bnpc, 2 * channels);
  for_each_square(both, batch, streams,
                  [=](std::int64_t x, const std::int64_t* y_at, std::int64_t pixels,
                      std::int64_t left, auto write) {
                    square_to_patches(patches_bnpc, y_at, x_bchw + x, both.plane, pixels, left,
                                      write);
                  });
}

void unpatchify(float* x_bchw, const float* patches_bnpc, std::int64_t batch, std::int64_t channels,
                std::int64_t height, std::int64_t width, std::int64_t patch) {
  const Both both{PatchGrid(height, width, patch), channels, height * width};
  const double bytes = bytes_moved(batch * channels * both.plane);
  const KernelScope scope("unpatchify", {batch, channels, height, width}, 0, bytes);
  if (channels < kFewChannels) {
    for_each_pixel(both, batch,
                   [=](std::int64_t x, std::int64_t y) { x_bchw[x] = patches_bnpc[y]; });
    return;
  }
  const bool streams = bytes > kStreamBytes && can_stream(x_bchw, 2 * width);
  for_each_square(both, batch, streams,
                  [=](std::int64_t x, const std::int64_t* y_at, std::int64_t pixels,
                      std::int64_t left, auto write) {
                    square_to_image(x_bchw + x, patches_bnpc, y_at, both.plane, pixels, left,
                                    write);
                  });
}

}  // namespace trib::ops
