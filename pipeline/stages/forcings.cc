#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"

namespace trib::pipeline {
namespace {

// Names and definitions as in GraphCast (Lam et al., 2023).
constexpr std::array<const char*, 4> kForcings{"day_progress_sin", "day_progress_cos",
                                               "year_progress_sin", "year_progress_cos"};
constexpr double kSecondsPerDay = 86400;
constexpr double kDaysPerYear = 365.24219;

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "forcings";
  d.summary = "Add channels that follow from time and longitude: the time of day and of the year.";
  d.parameters = {
      param::strings("channels",
                     "Any of day_progress_sin, day_progress_cos (local solar time), "
                     "year_progress_sin and year_progress_cos.")
          .or_else("[day_progress_sin, day_progress_cos]"),
  };
  return d;
}

class Forcings : public TransformStage {
 public:
  explicit Forcings(const StageContext& context)
      : TransformStage(context), names_(context.parameters.strings("channels")) {
    for (const std::string& name : names_) {
      if (std::find(kForcings.begin(), kForcings.end(), name) == kForcings.end()) {
        throw ConfigError(fmt::format("channels: no forcing '{}'; there are {}", name,
                                      fmt::join(kForcings, ", ")));
      }
    }
  }

  StreamInfo prepare(const StreamInfo& input) override {
    if (input.grid == nullptr) {
      throw ConfigError("needs fields on a latitude-longitude grid, which its input is not");
    }
    longitudes_ = input.grid->longitudes;
    if (std::isnan(longitudes_.front())) {
      throw ConfigError(
          "needs the longitudes of its input, which a stage before it shifts at random");
    }
    StreamInfo info = input;
    for (const std::string& name : names_) {
      const std::vector<std::string> present = info.channel_names();
      if (std::find(present.begin(), present.end(), name) != present.end()) {
        throw ConfigError(fmt::format("channels: its input has a channel '{}' already", name));
      }
      info.channels.push_back({name, "1"});
    }
    return info;
  }

  void keep(const ChannelNames& own) override {
    std::erase_if(names_, [&](const std::string& name) {
      return std::find(own.channels.begin(), own.channels.end(), name) == own.channels.end();
    });
  }

  void apply(Sample input, Split /*split*/, std::span<const SampleRequest> /*requests*/,
             std::vector<Sample>& output) const override {
    const double time = input.provenance.time;
    if (std::isnan(time)) {
      throw DataError(fmt::format("{}: has no time", input.provenance.file));
    }
    if (names_.empty()) {
      output.push_back(std::move(input));
      return;
    }
    const std::int64_t channels = input.x_cyx.dim(0);
    const std::int64_t height = input.x_cyx.dim(1), width = input.x_cyx.dim(2);
    Tensor x = Tensor::empty({channels + static_cast<std::int64_t>(names_.size()), height, width},
                             DType::f32, MemoryKind::ingest);
    Tensor fields = x.slice(0, 0, channels);
    input.x_cyx.copy_to(fields);
    float* plane = x.data<float>() + channels * height * width;
    for (const std::string& name : names_) {
      for (std::int64_t i = 0; i < height * width; ++i) {
        plane[i] = value(name, time, longitudes_[static_cast<std::size_t>(i % width)]);
      }
      plane += height * width;
    }
    input.x_cyx = std::move(x);
    output.push_back(std::move(input));
  }

 private:
  static float value(const std::string& name, double time, double longitude) {
    const double days = time / kSecondsPerDay;
    const double turns = name.starts_with("day") ? days + longitude / 360 : days / kDaysPerYear;
    const double angle = 2 * std::numbers::pi * (turns - std::floor(turns));
    return static_cast<float>(name.ends_with("sin") ? std::sin(angle) : std::cos(angle));
  }

  std::vector<std::string> names_;
  std::vector<double> longitudes_;
};

}  // namespace

void register_forcings(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<Forcings>(context); });
}

}  // namespace trib::pipeline
