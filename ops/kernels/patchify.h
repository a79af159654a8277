// Images to patches and back.
//
// Axes: b sample, c channel, h/w pixel rows and columns, n token (row-major over the patch grid),
// p pixel of a patch (row-major). P = patch * patch. h and w are multiples of `patch`.
#pragma once

#include <cstdint>

namespace trib::ops {

/// patches_bncp[b, j] = patch number visible[b * num_visible + j] of every channel of image b.
/// With `visible` null all h/patch * w/patch tokens are taken in order.
void patchify_channels(float* patches_bncp, const float* x_bchw, const std::int32_t* visible,
                       std::int64_t num_visible, std::int64_t batch, std::int64_t channels,
                       std::int64_t height, std::int64_t width, std::int64_t patch);

/// Patches in the order of MAE's reconstruction targets: patches_bnpc, pixel by pixel with the
/// channel fastest.
void patchify(float* patches_bnpc, const float* x_bchw, std::int64_t batch, std::int64_t channels,
              std::int64_t height, std::int64_t width, std::int64_t patch);
/// The inverse of patchify (and, being a permutation, its adjoint's inverse too).
void unpatchify(float* x_bchw, const float* patches_bnpc, std::int64_t batch, std::int64_t channels,
                std::int64_t height, std::int64_t width, std::int64_t patch);

}  // namespace trib::ops
