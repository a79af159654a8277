#include "bench/step/presets.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/base/error.h"
#include "ops/base/random.h"

namespace trib::bench {
namespace {

using model::AggregationKind;
constexpr auto kLinear = AggregationKind::linear;
constexpr auto kCross = AggregationKind::cross_attention;

// Of the shipped graphs: what their YAML says, on the files of `trib sample-data`.
constexpr std::array kPresets{
    Preset{"vit_s_96", "ViT-S/16, 96 x 96", 3, 96, 96, 16, 384, 12, 6, kLinear, Head::linear, 3,
           16},
    Preset{"vit_s_224", "ViT-S/16, 224 x 224", 3, 224, 224, 16, 384, 12, 6, kLinear, Head::linear,
           3, 16},
    Preset{"vit_s_144", "ViT-S/8, 96 x 96: 144 tokens", 3, 96, 96, 8, 384, 12, 6, kLinear,
           Head::linear, 3, 16},
    Preset{"channels_80", "80 channels, 32 x 64", 80, 32, 64, 2, 256, 8, 8, kCross, Head::linear,
           80, 4},
    Preset{"channels_512", "512 channels, 32 x 32", 512, 32, 32, 4, 384, 6, 6, kCross, Head::linear,
           512, 4},
    Preset{"satellite_mae", "graphs/satellite_mae.yaml", 6, 32, 32, 4, 128, 4, 4, kCross, Head::mae,
           0, 16},
    Preset{"era5_forecast", "graphs/era5_forecast.yaml", 15, 32, 64, 4, 128, 4, 4, kCross,
           Head::forecast, 5, 16},
    Preset{"hyperspectral_mae", "graphs/hyperspectral_mae.yaml", 149, 8, 8, 2, 64, 4, 4, kCross,
           Head::mae, 0, 16},
};

std::vector<std::string> names(std::int64_t count) {
  std::vector<std::string> result;
  for (std::int64_t c = 0; c < count; ++c) result.push_back(fmt::format("c{}", c));
  return result;
}

constexpr std::uint64_t kSeed = 7;

Tensor random_images(const std::string& stream, std::int64_t begin, std::int64_t end,
                     std::int64_t channels, std::int64_t height, std::int64_t width) {
  Tensor x = Tensor::empty({end - begin, channels, height, width}, DType::f32, MemoryKind::ingest);
  const RandomStream random(kSeed, stream);
  const std::int64_t sample = channels * height * width;
  float* values = x.data<float>();
  for (std::int64_t i = begin * sample; i < end * sample; ++i) {
    *values++ = 2 * random.uniform(static_cast<std::uint64_t>(i)) - 1;
  }
  return x;
}

}  // namespace

std::span<const Preset> presets() {
  return kPresets;
}

const Preset& preset_of(const std::string& name) {
  const auto* const found = std::find_if(kPresets.begin(), kPresets.end(),
                                         [&](const Preset& preset) { return name == preset.name; });
  if (found == kPresets.end()) {
    std::vector<const char*> known;
    for (const Preset& preset : kPresets) known.push_back(preset.name);
    throw ConfigError(fmt::format("--preset {}: expected one of {}", name, fmt::join(known, ", ")));
  }
  return *found;
}

std::unique_ptr<model::Model> make_model(const Preset& preset, const ModelChoices& choices) {
  auto made = std::make_unique<model::Model>(model::InputSpec{.channels = names(preset.channels),
                                                              .height = preset.height,
                                                              .width = preset.width,
                                                              .targets = names(preset.targets)},
                                             model::Division{}, choices.precision);
  made->add_tokenizer({.patch = preset.patch, .dim = preset.dim});
  made->add_aggregation({.kind = preset.aggregation, .heads = preset.heads});
  made->add_encoder({.depth = preset.depth,
                     .heads = preset.heads,
                     .lead_time = preset.head == Head::forecast,
                     .recompute = choices.recompute});
  switch (preset.head) {
    case Head::linear:
      made->add_forecast_head({.depth = 0});
      break;
    case Head::forecast:
      made->add_forecast_head({.depth = 2, .residual = true});
      break;
    case Head::mae:
      made->add_mae_head({.recompute = choices.recompute});
      break;
  }
  return made;
}

model::StepInput make_input(const Preset& preset, std::int64_t begin, std::int64_t end) {
  model::StepInput input;
  input.x_bchw = random_images("x", begin, end, preset.channels, preset.height, preset.width);
  if (preset.targets > 0) {
    input.target_bvhw =
        random_images("target", begin, end, preset.targets, preset.height, preset.width);
  }
  for (std::int64_t b = begin; b < end; ++b) {
    input.lead_hours.push_back(6);
    input.sample_keys.push_back(static_cast<std::uint64_t>(b));
  }
  return input;
}

}  // namespace trib::bench
