// Random masks of masked autoencoders (He et al., 2022).
#pragma once

#include <cstdint>
#include <vector>

#include "model/step.h"

namespace trib::model {

/// Tokens kept per sample: floor(tokens * (1 - mask_ratio)), in double as MAE does.
std::int64_t visible_tokens(std::int64_t tokens, double mask_ratio);

/// Draw the masks of a batch into `masking`, whose vectors keep their memory. Each sample's noise
/// is a function of (seed, its key); the tokens are sorted by noise, the first `num_visible` are
/// kept, in that order.
void draw_masks(Masking& masking, std::uint64_t seed, const std::vector<std::uint64_t>& sample_keys,
                std::int64_t tokens, std::int64_t num_visible);

}  // namespace trib::model
