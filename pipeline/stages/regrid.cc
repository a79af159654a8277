#include "ops/base/error.h"
#include "ops/regrid/regrid_weights.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "regrid";
  d.summary = "Interpolate fields bilinearly to the global grid of WeatherBench.";
  d.parameters = {
      param::number("degrees",
                    "Width of a grid cell; 5.625 gives 32 x 64 cells. It must divide 180.")
          .unit_is("degrees")
          .above(0)
          .at_most(90)
          .or_else(5.625),
  };
  return d;
}

class Regrid : public TransformStage {
 public:
  explicit Regrid(const StageContext& context)
      : TransformStage(context), degrees_(context.parameters.number("degrees")) {}

  StreamInfo prepare(const StreamInfo& input) override {
    if (input.grid == nullptr) {
      throw ConfigError("needs fields on a latitude-longitude grid, which its input is not");
    }
    const ops::RegularGrid target = ops::weatherbench_grid(degrees_);
    weights_ = ops::bilinear_weights({input.grid->latitudes, input.grid->longitudes}, target);
    extent_ = {static_cast<std::int64_t>(target.latitudes.size()),
               static_cast<std::int64_t>(target.longitudes.size())};
    StreamInfo info = input;
    info.extent = extent_;
    info.grid =
        std::make_shared<io::LatLonGrid>(io::LatLonGrid{target.latitudes, target.longitudes});
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
    weights_.apply(mapped.data<float>(), fields.data<float>(), fields.dim(0));
    return mapped;
  }

  double degrees_;
  io::Extent extent_;
  ops::RegridWeights weights_;
};

}  // namespace

void register_regrid(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<Regrid>(context); });
}

}  // namespace trib::pipeline
