#include "io/cube/dead_bands.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace trib::io {
namespace {

constexpr std::int64_t kSide = 8;  // of a window

// The window around a place of the image in quarters of its height and width.
Window window_at(const Extent& image, std::int64_t quarter_y, std::int64_t quarter_x) {
  const auto place = [](std::int64_t extent, std::int64_t quarter, std::int64_t& begin,
                        std::int64_t& length) {
    length = std::min(kSide, extent);
    begin = std::clamp<std::int64_t>(extent * quarter / 4 - length / 2, 0, extent - length);
  };
  Window w;
  place(image.height, quarter_y, w.y, w.height);
  place(image.width, quarter_x, w.x, w.width);
  return w;
}

}  // namespace

std::vector<std::int64_t> find_dead_bands(const ImageSource& cubes) {
  constexpr std::array<std::array<std::int64_t, 2>, 5> kQuarters{
      {{2, 2}, {1, 1}, {1, 3}, {3, 1}, {3, 3}}};
  const auto num_channels = static_cast<std::int64_t>(cubes.channels().size());
  std::vector<bool> alive(static_cast<std::size_t>(num_channels), false);
  for (const auto& [y, x] : kQuarters) {
    const Image image = cubes.read(0, window_at(cubes.extent(0), y, x));
    const float* data = image.data_cyx.data<float>();
    const std::int64_t pixels = image.data_cyx.dim(1) * image.data_cyx.dim(2);
    for (std::int64_t c = 0; c < num_channels; ++c) {
      const bool any = std::any_of(data + c * pixels, data + (c + 1) * pixels,
                                   [](float v) { return !std::isnan(v); });
      if (any) alive[static_cast<std::size_t>(c)] = true;
    }
    if (std::ranges::all_of(alive, [](bool a) { return a; })) break;
  }
  std::vector<std::int64_t> dead;
  // Where no channel has values, the places are outside of the swath: nothing is known.
  if (std::ranges::none_of(alive, [](bool a) { return a; })) return dead;
  for (std::int64_t c = 0; c < num_channels; ++c) {
    if (!alive[static_cast<std::size_t>(c)]) dead.push_back(c);
  }
  return dead;
}

}  // namespace trib::io
