#include "model/masking.h"

#include <algorithm>
#include <numeric>

#include "ops/base/random.h"

namespace trib::model {

std::int64_t visible_tokens(std::int64_t tokens, double mask_ratio) {
  return static_cast<std::int64_t>(static_cast<double>(tokens) * (1 - mask_ratio));
}

Masking draw_masks(std::uint64_t seed, const std::vector<std::uint64_t>& sample_keys,
                   std::int64_t tokens, std::int64_t num_visible) {
  const auto count = static_cast<std::size_t>(tokens);
  const RandomStream random(seed, "mask");
  std::vector<float> noise(count);
  std::vector<std::int32_t> shuffled(count);

  Masking masking{.num_visible = num_visible};
  masking.visible.reserve(sample_keys.size() * static_cast<std::size_t>(num_visible));
  masking.ids_restore.resize(sample_keys.size() * count);
  for (std::size_t b = 0; b < sample_keys.size(); ++b) {
    const RandomStream own = random.substream(sample_keys[b]);
    for (std::size_t n = 0; n < count; ++n) noise[n] = own.uniform(n);
    std::iota(shuffled.begin(), shuffled.end(), 0);
    std::stable_sort(shuffled.begin(), shuffled.end(), [&](std::int32_t i, std::int32_t j) {
      return noise[static_cast<std::size_t>(i)] < noise[static_cast<std::size_t>(j)];
    });
    masking.visible.insert(masking.visible.end(), shuffled.begin(), shuffled.begin() + num_visible);
    for (std::size_t j = 0; j < count; ++j) {
      masking.ids_restore[b * count + static_cast<std::size_t>(shuffled[j])] =
          static_cast<std::int32_t>(j);
    }
  }
  return masking;
}

}  // namespace trib::model
