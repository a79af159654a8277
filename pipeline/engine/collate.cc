#include "pipeline/engine/collate.h"

#include <cstdint>
#include <utility>

#include "ops/base/tensor.h"

namespace trib::pipeline {
namespace {

Tensor stack(const std::vector<Sample>& samples, Tensor Sample::*field) {
  const Tensor& first = samples.front().*field;
  if (!first.defined()) return {};
  std::vector<Tensor> parts;
  for (const Sample& sample : samples) parts.push_back(sample.*field);
  if (Tensor whole = Tensor::joined(parts); whole.numel() > 0) return whole;
  Shape shape{static_cast<std::int64_t>(samples.size())};
  for (const std::int64_t extent : first.shape()) shape.push_back(extent);
  Tensor stacked = Tensor::empty(shape, DType::f32, MemoryKind::ingest);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const Tensor& one = samples[i].*field;
    expect_shape(one, samples[i].provenance.file, first.shape());
    Tensor slot = stacked.select(0, static_cast<std::int64_t>(i));
    one.copy_to(slot);
  }
  return stacked;
}

}  // namespace

Batch collate(std::vector<Sample> samples) {
  Batch batch;
  batch.x_bchw = stack(samples, &Sample::x_cyx);
  batch.target_bvhw = stack(samples, &Sample::target_vyx);
  for (Sample& sample : samples) {
    batch.lead_hours.push_back(sample.lead_hours);
    batch.provenance.push_back(std::move(sample.provenance));
    batch.requests.push_back(sample.request);
  }
  return batch;
}

}  // namespace trib::pipeline
