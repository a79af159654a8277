#include <fmt/format.h>

#include "io/grid/grid_description.h"
#include "io/grid/regrid_weights_file.h"
#include "ops/base/error.h"
#include "ops/regrid/regrid_weights.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "regrid";
  d.summary = "Bring fields to another latitude-longitude grid.";
  d.parameters = {
      param::choice("method", {"bilinear", "nearest", "conservative"},
                    "Interpolate between the four points around, take the nearest point, or take "
                    "the mean over the cell.")
          .or_else("bilinear"),
      param::number("degrees",
                    "Width of a cell of the global grid of WeatherBench; 5.625 gives 32 x 64 "
                    "cells. It must divide 180. The grid unless another is given.")
          .unit_is("degrees")
          .above(0)
          .at_most(90)
          .or_else(5.625),
      param::size("shape", "Rows and columns of another grid; global unless 'first' and 'last'.")
          .at_least(1),
      param::boolean("poles", "Whether the first and last row of a global 'shape' are the poles.")
          .or_else(false),
      param::numbers("first", "[latitude, longitude] of the first row and column of 'shape'.")
          .unit_is("degrees"),
      param::numbers("last", "[latitude, longitude] of the last row and column of 'shape'.")
          .unit_is("degrees"),
      param::numbers("latitudes", "Rows of the grid, with 'longitudes'.").unit_is("degrees"),
      param::numbers("longitudes", "Columns of the grid, with 'latitudes'.").unit_is("degrees"),
      param::string("grid",
                    "File that describes the grid: NetCDF with latitudes and longitudes, or text "
                    "as 'cdo griddes' writes it."),
      param::choice("missing", {"propagate", "renormalise"},
                    "What a target is that missing values take part in: missing, or the weighted "
                    "mean of the others.")
          .or_else("propagate"),
      param::number("min_valid",
                    "Least part of a target's weight that must not be missing for 'renormalise'; "
                    "with 0 any part will do.")
          .between(0, 1)
          .or_else(0.0),
      param::choice("outside", {"fail", "missing"},
                    "What a target outside the source is: an error, or missing.")
          .or_else("fail"),
      param::string("weights_cache",
                    "Folder to keep weights in, for the next run between the same grids; none if "
                    "left empty.")
          .or_else(""),
  };
  return d;
}

ops::RegridMethod method_of(const std::string& name) {
  if (name == "nearest") return ops::RegridMethod::nearest;
  if (name == "conservative") return ops::RegridMethod::conservative;
  return ops::RegridMethod::bilinear;
}

std::vector<double> pair_of(const ParameterValues& p, const char* name) {
  const std::vector<double>& pair = p.numbers(name);
  if (pair.size() != 2) {
    throw ConfigError(
        fmt::format("{}: expected [latitude, longitude], found {} numbers", name, pair.size()));
  }
  return pair;
}

ops::RegularGrid grid_of_shape(const ParameterValues& p) {
  const auto [rows, columns] = p.size("shape");
  if (!p.has("first") && !p.has("last")) {
    return ops::global_grid(rows, columns, p.boolean("poles"));
  }
  if (!p.has("first") || !p.has("last")) {
    throw ConfigError("first, last: one needs the other");
  }
  if (p.was_given("poles")) throw ConfigError("poles: has no meaning beside 'first' and 'last'");
  const std::vector<double> first = pair_of(p, "first"), last = pair_of(p, "last");
  return {ops::evenly_spaced(first[0], last[0], rows),
          ops::evenly_spaced(first[1], last[1], columns)};
}

ops::RegularGrid target_grid(const ParameterValues& p) {
  std::vector<std::string> ways;
  if (p.was_given("degrees")) ways.emplace_back("degrees");
  for (const char* name : {"shape", "latitudes", "grid"}) {
    if (p.has(name)) ways.emplace_back(name);
  }
  if (ways.size() > 1) {
    throw ConfigError(
        fmt::format("{}: each says what the grid is; leave one", fmt::join(ways, ", ")));
  }
  if (p.has("latitudes") != p.has("longitudes")) {
    throw ConfigError("latitudes, longitudes: one needs the other");
  }
  const std::string way = ways.empty() ? "degrees" : ways.front();
  if (way != "shape" && (p.has("first") || p.has("last") || p.was_given("poles"))) {
    throw ConfigError("first, last, poles: need 'shape'");
  }
  if (way == "shape") return ops::ascending_grid(grid_of_shape(p));
  if (way == "grid") return io::read_grid_description(p.string("grid"));
  if (way == "latitudes") {
    return ops::ascending_grid({p.numbers("latitudes"), p.numbers("longitudes")});
  }
  return ops::weatherbench_grid(p.number("degrees"));
}

class Regrid : public TransformStage {
 public:
  explicit Regrid(const StageContext& context)
      : TransformStage(context),
        method_(method_of(context.parameters.string("method"))),
        target_(target_grid(context.parameters)),
        missing_{context.parameters.string("missing") == "renormalise",
                 context.parameters.number("min_valid")},
        allow_outside_(context.parameters.string("outside") == "missing"),
        weights_cache_(context.parameters.string("weights_cache")) {
    if (context.parameters.was_given("min_valid") && !missing_.renormalise) {
      throw ConfigError("min_valid: needs 'missing: renormalise'");
    }
  }

  StreamInfo prepare(const StreamInfo& input) override {
    if (input.grid == nullptr) {
      throw ConfigError("needs fields on a latitude-longitude grid, which its input is not");
    }
    weights_ = io::kept_regrid_weights({input.grid->latitudes, input.grid->longitudes}, target_,
                                       method_, allow_outside_, weights_cache_);
    extent_ = {std::ssize(target_.latitudes), std::ssize(target_.longitudes)};
    StreamInfo info = input;
    info.extent = extent_;
    info.grid =
        std::make_shared<io::LatLonGrid>(io::LatLonGrid{target_.latitudes, target_.longitudes});
    return info;
  }

  io::Extent output_extent(const io::Extent& /*input*/) const override { return extent_; }

  void apply(Sample input, Split /*split*/, std::span<const SampleRequest> /*requests*/,
             std::vector<Sample>& output) const override {
    input.x_cyx = map(input.x_cyx);
    if (input.target_vyx.defined()) input.target_vyx = map(input.target_vyx);
    output.push_back(std::move(input));
  }

 private:
  Tensor map(const Tensor& fields) const {
    Tensor mapped = Tensor::empty({fields.dim(0), extent_.height, extent_.width}, DType::f32,
                                  MemoryKind::ingest);
    weights_.apply(mapped.data<float>(), fields.data<float>(), fields.dim(0), missing_);
    return mapped;
  }

  ops::RegridMethod method_;
  ops::RegularGrid target_;
  ops::MissingPolicy missing_;
  bool allow_outside_;
  std::string weights_cache_;
  io::Extent extent_;
  ops::RegridWeights weights_;
};

}  // namespace

void register_regrid(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<Regrid>(context); });
}

}  // namespace trib::pipeline
