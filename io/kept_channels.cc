#include "io/kept_channels.h"

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::io {

void check_kept_channels(std::span<const std::int64_t> kept, std::size_t available) {
  std::int64_t before = -1;
  for (const std::int64_t channel : kept) {
    if (channel <= before || channel >= static_cast<std::int64_t>(available)) {
      throw RuntimeError(
          fmt::format("channel {} of {} cannot be kept after channel {}; positions must ascend",
                      channel, available, before));
    }
    before = channel;
  }
}

}  // namespace trib::io
