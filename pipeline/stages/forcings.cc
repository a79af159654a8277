#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include <fmt/format.h>

#include "io/grid/calendar.h"
#include "ops/base/error.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/solar.h"

namespace trib::pipeline {
namespace {

constexpr double kSecondsPerDay = 86400;
constexpr double kDaysPerYear = 365.24219;
constexpr double kTwoPi = 2 * std::numbers::pi;
constexpr double kRadians = std::numbers::pi / 180;

/// Where and when the values of a channel are asked for.
struct Place {
  double time;  // seconds since 1970
  const std::vector<double>& latitudes;
  const std::vector<double>& longitudes;
};

/// A channel that follows from time and place.
struct Forcing {
  const char* name;
  const char* units;
  bool needs_time;
  void (*fill)(const Place& place, float* out_yx);
};

template <class Value>
void fill_by_row(const Place& place, float* out, Value&& value) {
  for (const double latitude : place.latitudes) {
    out = std::fill_n(out, place.longitudes.size(), static_cast<float>(value(latitude * kRadians)));
  }
}

template <class Value>
void fill_by_column(const Place& place, float* out, Value&& value) {
  std::vector<float> row;
  for (const double longitude : place.longitudes) {
    row.push_back(static_cast<float>(value(longitude * kRadians)));
  }
  for (std::size_t y = 0; y < place.latitudes.size(); ++y) {
    out = std::copy(row.begin(), row.end(), out);
  }
}

void fill_all(const Place& place, float* out, double value) {
  std::fill_n(out, place.latitudes.size() * place.longitudes.size(), static_cast<float>(value));
}

// Angles of the day at Greenwich, of GraphCast's year and of the calendar's.
double day_angle(const Place& place) {
  const double days = place.time / kSecondsPerDay;
  return kTwoPi * (days - std::floor(days));
}
double year_angle(const Place& place) {
  const double years = place.time / kSecondsPerDay / kDaysPerYear;
  return kTwoPi * (years - std::floor(years));
}
double calendar_angle(const Place& place) {
  const io::DayOfYear day = io::day_of_year(io::Calendar::gregorian, place.time);
  return kTwoPi * day.days / day.year_length;
}

constexpr double kRadiationPeriod = 3600;  // of ERA5's accumulations

const Forcing kForcings[] = {
    {"day_progress_sin", "1", true,
     [](const Place& p, float* out) {
       fill_by_column(p, out, [&](double x) { return std::sin(day_angle(p) + x); });
     }},
    {"day_progress_cos", "1", true,
     [](const Place& p, float* out) {
       fill_by_column(p, out, [&](double x) { return std::cos(day_angle(p) + x); });
     }},
    {"year_progress_sin", "1", true,
     [](const Place& p, float* out) { fill_all(p, out, std::sin(year_angle(p))); }},
    {"year_progress_cos", "1", true,
     [](const Place& p, float* out) { fill_all(p, out, std::cos(year_angle(p))); }},
    {"time_of_day_sin", "1", true,
     [](const Place& p, float* out) { fill_all(p, out, std::sin(day_angle(p))); }},
    {"time_of_day_cos", "1", true,
     [](const Place& p, float* out) { fill_all(p, out, std::cos(day_angle(p))); }},
    {"day_of_year_sin", "1", true,
     [](const Place& p, float* out) { fill_all(p, out, std::sin(calendar_angle(p))); }},
    {"day_of_year_cos", "1", true,
     [](const Place& p, float* out) { fill_all(p, out, std::cos(calendar_angle(p))); }},
    {"cos_solar_zenith", "1", true,
     [](const Place& p, float* out) {
       const Sun sun = sun_at(p.time);
       for (const double latitude : p.latitudes) {
         for (const double longitude : p.longitudes) {
           *out++ =
               static_cast<float>(cos_solar_zenith(sun, latitude * kRadians, longitude * kRadians));
         }
       }
     }},
    {"toa_incident_solar_radiation", "J m**-2", true,
     [](const Place& p, float* out) {
       toa_incident_solar_radiation(p.time, kRadiationPeriod, p.latitudes, p.longitudes, out);
     }},
    {"cos_latitude", "1", false,
     [](const Place& p, float* out) { fill_by_row(p, out, [](double y) { return std::cos(y); }); }},
    {"sin_latitude", "1", false,
     [](const Place& p, float* out) { fill_by_row(p, out, [](double y) { return std::sin(y); }); }},
    {"cos_longitude", "1", false,
     [](const Place& p, float* out) {
       fill_by_column(p, out, [](double x) { return std::cos(x); });
     }},
    {"sin_longitude", "1", false,
     [](const Place& p, float* out) {
       fill_by_column(p, out, [](double x) { return std::sin(x); });
     }},
};

const Forcing& find_forcing(const std::string& name) {
  std::vector<std::string> names;
  for (const Forcing& forcing : kForcings) {
    if (forcing.name == name) return forcing;
    names.emplace_back(forcing.name);
  }
  throw ConfigError(
      fmt::format("channels: no forcing '{}'; there are {}", name, fmt::join(names, ", ")));
}

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "forcings";
  d.summary =
      "Add channels that follow from time and place: the time of day and of the year, the sun, "
      "latitude and longitude.";
  d.parameters = {
      param::strings(
          "channels",
          "Any of day_progress_sin, day_progress_cos (local solar time), "
          "year_progress_sin, year_progress_cos, time_of_day_sin, time_of_day_cos (UTC), "
          "day_of_year_sin, day_of_year_cos, cos_solar_zenith, "
          "toa_incident_solar_radiation, cos_latitude, sin_latitude, cos_longitude and "
          "sin_longitude.")
          .or_else("[day_progress_sin, day_progress_cos]"),
      param::choice("at", {"input", "target"},
                    "Whether they are those of the fields' time or of the time to forecast; the "
                    "names of the latter end in _at_target.")
          .or_else("input"),
  };
  return d;
}

class Forcings : public TransformStage {
 public:
  explicit Forcings(const StageContext& context)
      : TransformStage(context), at_target_(context.parameters.string("at") == "target") {
    for (const std::string& name : context.parameters.strings("channels")) {
      const Forcing& forcing = find_forcing(name);
      own_.push_back({&forcing, name + (at_target_ ? "_at_target" : "")});
      needs_time_ = needs_time_ || forcing.needs_time;
    }
  }

  StreamInfo prepare(const StreamInfo& input) override {
    if (input.grid == nullptr) {
      throw ConfigError("needs fields on a latitude-longitude grid, which its input is not");
    }
    if (std::isnan(input.grid->longitudes.front())) {
      throw ConfigError(
          "needs the longitudes of its input, which a stage before it shifts at random");
    }
    if (at_target_ && input.targets.empty()) {
      throw ConfigError("at: target needs samples with a target, which its input has not");
    }
    grid_ = input.grid;
    StreamInfo info = input;
    for (const auto& [forcing, name] : own_) {
      const std::vector<std::string> present = info.channel_names();
      if (std::find(present.begin(), present.end(), name) != present.end()) {
        throw ConfigError(fmt::format("channels: its input has a channel '{}' already", name));
      }
      info.channels.push_back({name, forcing->units});
    }
    return info;
  }

  void keep(const ChannelNames& own) override {
    std::erase_if(own_, [&](const Channel& channel) {
      return std::find(own.channels.begin(), own.channels.end(), channel.name) ==
             own.channels.end();
    });
  }

  void apply(Sample input, Split /*split*/, std::span<const SampleRequest> /*requests*/,
             std::vector<Sample>& output) const override {
    const double time = input.provenance.time + (at_target_ ? input.lead_hours * 3600.0 : 0);
    // Also where none of the channels is this rank's: all ranks must come to the same end.
    if (needs_time_ && std::isnan(time)) {
      throw DataError(fmt::format("{}: has no time", input.provenance.file));
    }
    if (own_.empty()) {
      output.push_back(std::move(input));
      return;
    }
    const std::int64_t channels = input.x_cyx.dim(0);
    const std::int64_t height = input.x_cyx.dim(1), width = input.x_cyx.dim(2);
    Tensor x = Tensor::empty({channels + static_cast<std::int64_t>(own_.size()), height, width},
                             DType::f32, MemoryKind::ingest);
    Tensor fields = x.slice(0, 0, channels);
    input.x_cyx.copy_to(fields);
    float* plane = x.data<float>() + channels * height * width;
    const Place place{time, grid_->latitudes, grid_->longitudes};
    for (const Channel& channel : own_) {
      channel.forcing->fill(place, plane);
      plane += height * width;
    }
    input.x_cyx = std::move(x);
    output.push_back(std::move(input));
  }

 private:
  struct Channel {
    const Forcing* forcing;
    std::string name;
  };

  bool at_target_, needs_time_ = false;
  std::vector<Channel> own_;
  std::shared_ptr<const io::LatLonGrid> grid_;
};

}  // namespace

void register_forcings(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<Forcings>(context); });
}

}  // namespace trib::pipeline
