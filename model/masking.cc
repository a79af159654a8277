#include "model/masking.h"

#include <algorithm>
#include <bit>

#include "ops/base/random.h"

namespace trib::model {

std::int64_t visible_tokens(std::int64_t tokens, double mask_ratio) {
  return static_cast<std::int64_t>(static_cast<double>(tokens) * (1 - mask_ratio));
}

void draw_masks(Masking& masking, std::uint64_t seed, const std::vector<std::uint64_t>& sample_keys,
                std::int64_t tokens, std::int64_t num_visible) {
  const auto count = static_cast<std::size_t>(tokens);
  const auto visible = static_cast<std::size_t>(num_visible);
  const RandomStream random(seed, "mask");
  // Noise in the high bits, the token in the low ones: noise in [0, 1) sorts as its bits do, and
  // tokens of the same noise keep their order. Kept from call to call.
  thread_local std::vector<std::uint64_t> order;
  order.resize(count);

  masking.num_visible = num_visible;
  masking.visible.resize(sample_keys.size() * visible);
  masking.ids_restore.resize(sample_keys.size() * count);
  for (std::size_t b = 0; b < sample_keys.size(); ++b) {
    const RandomStream own = random.substream(sample_keys[b]);
    for (std::size_t n = 0; n < count; ++n) {
      const auto noise = std::uint64_t{std::bit_cast<std::uint32_t>(own.uniform(n))};
      order[n] = noise << 32 | n;
    }
    std::sort(order.begin(), order.end());
    for (std::size_t j = 0; j < count; ++j) {
      const auto token = static_cast<std::uint32_t>(order[j]);
      if (j < visible) masking.visible[b * visible + j] = static_cast<std::int32_t>(token);
      masking.ids_restore[b * count + token] = static_cast<std::int32_t>(j);
    }
  }
}

}  // namespace trib::model
