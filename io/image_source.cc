#include "io/image_source.h"

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr std::int64_t kMaxImageValues = std::int64_t{1} << 40;  // more is a damaged header

}  // namespace

Image ImageSource::read(std::int64_t index, const std::optional<Window>& window) const {
  const Window wanted = checked_window(index, window);
  const auto num_channels = static_cast<std::int64_t>(channels().size());
  if (num_channels * wanted.height > kMaxImageValues / wanted.width) {
    throw DataError(fmt::format("{}: {} channels of {} x {} pixels are too many to read at once",
                                provenance(index).file, num_channels, wanted.height, wanted.width));
  }
  Image image;
  image.data_cyx =
      Tensor::empty({num_channels, wanted.height, wanted.width}, DType::f32, MemoryKind::ingest);
  image.provenance = read_into(index, window, {image.data_cyx.data<float>()});
  return image;
}

Window ImageSource::checked_window(std::int64_t index, const std::optional<Window>& window) const {
  const Extent image = extent(index);
  if (!window) return {0, 0, image.height, image.width};
  const Window& w = *window;
  const bool lies_within = w.y >= 0 && w.x >= 0 && w.height > 0 && w.width > 0 &&
                           w.height <= image.height && w.width <= image.width &&
                           w.y <= image.height - w.height && w.x <= image.width - w.width;
  if (!lies_within) {
    throw DataError(fmt::format(
        "{}: the window [y {}..{}, x {}..{}) does not lie in the image of {} x {} pixels",
        provenance(index).file, w.y, w.y + w.height, w.x, w.x + w.width, image.height,
        image.width));
  }
  return w;
}

}  // namespace trib::io
