// A program with a stage of its own, built against the installed library.
//
//   cmake -S examples/custom_stage -B build/custom -DCMAKE_PREFIX_PATH=PREFIX
//   cmake --build build/custom && build/custom/custom_stage examples/custom_stage/graph.yaml
//
// PREFIX is where `cmake --install build/release --prefix PREFIX` has put Tributary. The stage is
// `add.noise`: Gaussian noise on training samples, the same in every run of a seed and on any
// number of ranks, because it belongs to the sample and not to the thread that makes it.

#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ops/base/random.h"
#include "pipeline/run/run.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stage/stage.h"
#include "pipeline/stages/builtin.h"

namespace {

using namespace trib;
using namespace trib::pipeline;

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "add.noise";
  d.summary = "Add Gaussian noise to training samples.";
  d.parameters = {
      param::number("std", "Standard deviation of the noise, in the units of the data.")
          .at_least(0)
          .or_else(0.1),
  };
  return d;
}

class AddNoise : public TransformStage {
 public:
  explicit AddNoise(const StageContext& context)
      : TransformStage(context),
        random_(context.seed, "noise." + context.node),
        std_(static_cast<float>(context.parameters.number("std"))) {}

  // What leaves this stage looks like what enters it.
  StreamInfo prepare(const StreamInfo& input) override { return input; }

  // Runs on many threads at once, hence const.
  void apply(Sample sample, Split split, std::span<const SampleRequest> /*requests*/,
             std::vector<Sample>& output) const override {
    if (split == Split::train) {
      // Another node may see the same pixels.
      if (!sample.x_cyx.is_unique()) sample.x_cyx = sample.x_cyx.clone(MemoryKind::ingest);
      const RandomStream noise = random_.substream(sample.request.position);
      float* pixel = sample.x_cyx.data<float>();
      for (std::int64_t i = 0; i < sample.x_cyx.numel(); ++i) {
        pixel[i] += std_ * noise.normal(static_cast<std::uint64_t>(i));
      }
    }
    output.push_back(std::move(sample));
  }

 private:
  RandomStream random_;
  float std_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s GRAPH [RUN_FOLDER]\n", argv[0]);
    return 2;
  }
  try {
    Registry registry;
    register_builtin_stages(registry);
    registry.add(declaration(),
                 [](const StageContext& context) { return std::make_unique<AddNoise>(context); });
    RunOptions options;
    options.graph = argv[1];
    if (argc > 2) options.run_dir = argv[2];
    return run_graph(options, registry);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 4;
  }
}
