// What the layers of one model know of each other.
#pragma once

#include <cstdint>

#include "model/model.h"
#include "model/parallel/division.h"
#include "model/parallel/tensor_group.h"

namespace trib::model {

class Tokenizer;

/// Filled in as layers are added; complete before the first forward. Layers hold a reference.
struct ModelPlan {
  const InputSpec& input;
  DType operand = DType::f32;  ///< of the products of transformer and heads
  Division division = {};
  TensorGroup group = TensorGroup();
  Range own_channels = {};                     ///< positions among the input's channels
  std::vector<std::int64_t> own_targets = {};  ///< positions among the input's targets
  std::int64_t patch = 0;
  std::int64_t grid_height = 0, grid_width = 0;  ///< patches along each axis
  std::int64_t dim = 0;                          ///< D
  std::int64_t num_visible = 0;                  ///< N': tokens per sample that the encoder sees
  bool masked = false;        ///< whether the encoder sees a random part of the tokens
  bool lead_time = false;     ///< whether the encoder reads the lead time
  bool drops = false;         ///< whether the encoder drops elements or paths in training
  bool forms_tokens = false;  ///< whether the aggregation asks for finished tokens
  const Tokenizer* tokenizer = nullptr;

  /// Channels of the model, and those this rank works on.
  std::int64_t all_channels() const { return static_cast<std::int64_t>(input.channels.size()); }
  std::int64_t channels() const { return own_channels.size(); }
  /// The split of a parameter whose axis is made of runs over all channels.
  TensorSplit channel_split(int axis, std::int64_t groups = 1) const {
    return is_distributed() ? TensorSplit{axis, groups, {own_channels}} : TensorSplit{};
  }
  /// Whether other ranks work on other channels.
  bool is_distributed() const { return division.distributed && !group.is_alone(); }
  std::int64_t tokens() const { return grid_height * grid_width; }
  std::int64_t patch_pixels() const { return patch * patch; }
};

/// Throw ConfigError unless `heads` is positive and divides `dim`.
void require_heads(const char* layer, std::int64_t heads, std::int64_t dim);
/// Throw ConfigError unless `value` is at least `least`.
void require_at_least(const char* layer, const char* option, std::int64_t value,
                      std::int64_t least);

}  // namespace trib::model
