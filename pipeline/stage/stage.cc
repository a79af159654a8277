#include "pipeline/stage/stage.h"

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::pipeline {

void SourceStage::leave_out(std::vector<UnreadableFile> lost) {
  throw DataError(lost.back().error);
}

Tensor image_memory(const Tensor& wanted, const Shape& shape) {
  if (wanted.numel() > 0 && wanted.shape() == shape) return wanted;
  return Tensor::empty(shape, DType::f32, MemoryKind::ingest);
}
namespace {

[[noreturn]] void refuse(const SinkStage& sink, const char* kind) {
  throw RuntimeError(fmt::format("node '{}' does not take {}", sink.node(), kind));
}

}  // namespace

void SinkStage::consume_sample(const Sample& /*sample*/) {
  refuse(*this, "samples");
}
void SinkStage::consume_batch(const Batch& /*batch*/) {
  refuse(*this, "batches");
}
void SinkStage::consume_step(const model::Step& /*step*/, const Batch& /*batch*/) {
  refuse(*this, "model steps");
}

}  // namespace trib::pipeline
