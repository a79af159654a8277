#include <fmt/format.h>

#include "ops/base/error.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "batch";
  d.summary = "Stack samples into batches in a seeded order; several inputs are mixed.";
  d.inputs = StageDeclaration::Inputs::many;
  d.parameters = {
      param::integer(
          "size",
          "Samples of a batch, over all ranks; those of the data and shard axes share them evenly.")
          .at_least(1)
          .or_else(16),
      param::integer(
          "shuffle",
          "Put blocks of this many samples in random order, so that pieces of an image come apart. "
          "The samples of a block are held in memory. 0: pieces of an image stay together.")
          .at_least(0)
          .or_else(0),
  };
  return d;
}

class BatchSamples : public BatchStage {
 public:
  explicit BatchSamples(const StageContext& context)
      : BatchStage(context),
        size_(context.parameters.integer("size")),
        shuffle_(context.parameters.integer("shuffle")),
        data_ranks_(context.data_ranks) {}

  StreamInfo prepare(const std::vector<StreamInfo>& inputs) override {
    if (size_ % data_ranks_ != 0) {
      throw ConfigError(
          fmt::format("size {} cannot be split evenly over {} ranks that share the "
                      "data (mesh data x shard)",
                      size_, data_ranks_));
    }
    StreamInfo info = inputs.front();
    for (const StreamInfo& input : inputs) {
      if (!input.extents_agree) {
        throw ConfigError("the images differ in size; put 'crop' or 'tile' before it");
      }
      if (!(input.extent == info.extent) || input.channel_names() != info.channel_names() ||
          input.target_names() != info.target_names()) {
        throw ConfigError("its inputs differ in size or channels");
      }
    }
    info.kind = StreamKind::batches;
    info.batch_size = size_ / data_ranks_;
    return info;
  }

  std::int64_t batch_size() const override { return size_; }
  std::int64_t shuffle_window() const override { return shuffle_; }

 private:
  std::int64_t size_, shuffle_;
  int data_ranks_;
};

}  // namespace

void register_batch(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<BatchSamples>(context); });
}

}  // namespace trib::pipeline
