// The models whose training steps are measured.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "model/model.h"

namespace trib::bench {

enum class Head : std::uint8_t {
  linear,    ///< Linear(D, V * p * p), mean squared error: a forecast head without hidden layers
  forecast,  ///< the same behind two hidden layers, predicting a change
  mae,       ///< a masked autoencoder's decoder
};

/// A model, and the batch it is measured with.
struct Preset {
  const char* name;
  const char* what;
  std::int64_t channels, height, width, patch;
  std::int64_t dim, depth, heads;
  model::AggregationKind aggregation;
  Head head;
  std::int64_t targets;  ///< the first channels are predicted; the masked autoencoder has none
  std::int64_t batch;
};

std::span<const Preset> presets();
/// Throws ConfigError for an unknown name.
const Preset& preset_of(const std::string& name);

struct ModelChoices {
  model::Precision precision = model::Precision::fp32;
  std::int64_t recompute = 0;  ///< EncoderOptions::recompute
};

std::unique_ptr<model::Model> make_model(const Preset& preset, const ModelChoices& choices);

/// Random images and targets of samples [begin, end) of a global batch; each is a function of its
/// number.
model::StepInput make_input(const Preset& preset, std::int64_t begin, std::int64_t end);

}  // namespace trib::bench
