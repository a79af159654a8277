// What flows through a model: one batch with everything computed from it.
//
// Axes: b sample, c channel, h/w pixel rows and columns, n token (patch), v target variable, d dim.
// Where the channels are divided over the tensor axis, c and v are those of this rank.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ops/base/split.h"
#include "ops/base/step_arena.h"
#include "ops/base/tensor.h"

namespace trib::model {

class Parameters;

/// A batch as the model takes it.
struct StepInput {
  Tensor x_bchw;       ///< f32, normalised; own channels; NaN marks missing pixels
  Tensor target_bvhw;  ///< f32; own targets; empty unless the head predicts another image
  std::vector<float> lead_hours;           ///< [B]; 0 where nothing is forecast
  std::vector<std::uint64_t> sample_keys;  ///< [B]; random choices belong to these, not to a rank
};

/// Which tokens the encoder sees (masked autoencoders). Empty: all of them.
struct Masking {
  std::int64_t num_visible = 0;                ///< per sample
  std::vector<std::int32_t> visible = {};      ///< [B * num_visible] token numbers, as shuffled
  std::vector<std::int32_t> ids_restore = {};  ///< [B * N] as in MAE
  bool active() const { return !visible.empty(); }
  /// The numbers of the visible tokens, null if all are.
  const std::int32_t* visible_or_null() const { return active() ? visible.data() : nullptr; }
};

/// Where tokenizer and channel aggregation meet. An aggregation may ask for finished tokens, or
/// compute straight from the patches in the images.
struct ChannelPatches {
  /// Gradient of the finished tokens [B * N', channels, D] of some own channels.
  struct TokenGradient {
    Range channels;
    float* d_rcd;
  };
  /// Where the visible patches [B * N'] of the first own channel begin in x_bchw.
  std::vector<std::int64_t> row_offsets = {};
  /// [B, N', C, P]: visible patches of own channels, P = patch * patch pixels, for those who form
  /// tokens; else undefined.
  Tensor patches_bncp = {};
  /// Filled in by unfused aggregations.
  std::vector<TokenGradient> d_tokens = {};

  /// Empty, vectors keeping their memory.
  void clear() {
    row_offsets.clear();
    patches_bncp = {};
    d_tokens.clear();
  }
};

/// State kept by one layer between its forward and its backward.
struct LayerState {
  virtual ~LayerState() = default;
};

/// The state that `slot` holds, made if there is none: a step that is used again finds the state of
/// the step before, which it writes over, vectors keeping their memory.
template <class State>
State& state_in(std::unique_ptr<LayerState>& slot) {
  if (slot == nullptr) slot = std::make_unique<State>();
  return static_cast<State&>(*slot);
}

/// One batch on its way through a model. Tensors live in the arena. A step can be used again for
/// another batch of the same model: give it the input and call Model::begin. With the memory that
/// its layers and vectors have by then, nothing is allocated.
struct Step {
  Step(StepInput batch, StepArena& step_arena, const Parameters& params, bool train)
      : input(std::move(batch)), arena(step_arena), parameters(params), training(train) {}

  std::int64_t batch() const { return input.x_bchw.dim(0); }

  /// The state of a layer for its forward: made once, kept by a step that is used again (see
  /// state_in).
  template <class State>
  State& state_for(int layer) {
    return state_in<State>(states.at(static_cast<std::size_t>(layer)));
  }
  /// The state of a layer whose forward has run.
  template <class State>
  State& state(int layer) {
    return static_cast<State&>(*states.at(static_cast<std::size_t>(layer)));
  }

  StepInput input;
  StepArena& arena;
  const Parameters& parameters;
  bool training;
  std::uint64_t seed = 0;  ///< of random choices; set by Model::begin

  Masking masking;
  ChannelPatches channels;
  Tensor x_bnd;            ///< spatial tokens, after channel aggregation and every later layer
  Tensor d_x_bnd;          ///< gradient of the loss by x_bnd
  Tensor prediction;       ///< what the head predicts (its own layout)
  Tensor prediction_bvhw;  ///< forecast heads: the predicted image
  double loss = 0;         ///< mean over this rank's samples and the whole model's channels
  float loss_scale = 1;    ///< factor on the loss whose gradient backward computes
  std::vector<std::pair<std::string, double>> loss_terms;

  std::vector<std::unique_ptr<LayerState>> states;  ///< by Layer::index()
};

}  // namespace trib::model
