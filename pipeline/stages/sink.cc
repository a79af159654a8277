#include <chrono>
#include <thread>

#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "sink";
  d.summary = "Count what arrives and drop it, to measure everything before it.";
  d.parameters = {
      param::integer("count", "Samples, batches or steps after which it has enough; 0: all.")
          .at_least(0)
          .or_else(0),
      param::duration("delay", "How long it takes for each.").at_least(0).or_else("0s"),
  };
  return d;
}

class Sink : public SinkStage {
 public:
  explicit Sink(const StageContext& context)
      : SinkStage(context),
        wanted_(context.parameters.integer("count")),
        delay_(context.parameters.duration_seconds("delay")) {}

  void prepare(const StreamInfo& /*input*/, const std::string& /*input_node*/) override {}
  void consume_sample(const Sample& /*sample*/) override { count(); }
  void consume_batch(const Batch& /*batch*/) override { count(); }
  void consume_step(const model::Step& /*step*/, const Batch& /*batch*/) override { count(); }
  bool satisfied() const override { return wanted_ > 0 && seen_ >= wanted_; }

 private:
  void count() {
    ++seen_;
    if (delay_ > 0) std::this_thread::sleep_for(std::chrono::duration<double>(delay_));
  }

  std::int64_t wanted_;
  double delay_;
  std::int64_t seen_ = 0;
};

}  // namespace

void register_sink(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<Sink>(context); });
}

}  // namespace trib::pipeline
