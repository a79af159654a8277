// Undoing what TIFF's predictors did to make samples compress better.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace trib::io {

/// Turn rows of differences into rows of values, in place: each sample of `sample_bytes` (1, 2, 4
/// or 8) is the difference to that of the pixel on the left, of which there are `samples` side by
/// side. Numbers wrap around. Predictor 2.
void undo_horizontal(std::span<std::byte> rows, std::int64_t row_bytes, std::int64_t samples,
                     std::size_t sample_bytes);

/// The same of floating-point rows, whose bytes stand sorted by significance, the highest first,
/// before differences of bytes were taken. Values come out in the order of this machine, whatever
/// that of the file. `sample_bytes` is 4 or 8. Predictor 3.
void undo_floating_point(std::span<std::byte> rows, std::int64_t row_bytes, std::int64_t samples,
                         std::size_t sample_bytes);

/// Reverse the bytes of each sample.
void swap_bytes(std::span<std::byte> samples, std::size_t sample_bytes);

}  // namespace trib::io
