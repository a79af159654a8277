// What flows along the edges of a graph: samples (in packets), batches and steps.
//
// Axes: b sample, c channel, v target variable, y/h row, x/w column.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/image.h"
#include "model/step.h"
#include "ops/base/tensor.h"
#include "pipeline/stage/budget.h"

namespace trib::pipeline {

/// Samples are drawn either for training or from what was held out for evaluation.
enum class Split : std::uint8_t { train, eval };

/// One sample the sampler asks for: piece `piece` of item `item` of a source. The position in the
/// endless stream of the split numbers samples over all ranks and epochs.
struct SampleRequest {
  std::uint64_t position = 0;
  std::int64_t epoch = 0;
  int source = 0;
  std::int64_t item = 0;
  std::int32_t piece = 0;
};

/// An image on its way to a batch.
struct Sample {
  Tensor x_cyx;          ///< f32, MemoryKind::ingest; missing pixels are NaN
  Tensor target_vyx;     ///< the image to predict; empty if there is none
  float lead_hours = 0;  ///< time from x to target
  io::Provenance provenance;
  SampleRequest request;
};

/// All samples that are cut from one read of one item. Keeps positions that failed to be read, so
/// that whoever restores the order does not wait for them.
struct Packet {
  // Credits come first, to be given back last: what they stand for is free by then.
  std::vector<std::shared_ptr<const Credit>> credits;  ///< one per request, for the sample
  std::shared_ptr<const Credit> read_credit;           ///< what the read holds beyond its samples
  Split split = Split::train;
  std::vector<SampleRequest> requests;
  std::vector<Sample> samples;  ///< one per read before the expanding stage, one per request after
  std::vector<std::uint64_t> skipped;
};
using PacketPtr = std::shared_ptr<Packet>;

/// Samples stacked, with the record of each.
struct Batch {
  std::vector<std::shared_ptr<const Credit>> credits;  ///< given back last
  std::uint64_t index = 0;                             ///< counts batches of this rank
  Tensor x_bchw;                                       ///< f32, MemoryKind::ingest
  Tensor target_bvhw;
  std::vector<float> lead_hours;
  std::vector<io::Provenance> provenance;
  std::vector<SampleRequest> requests;
};
using BatchPtr = std::shared_ptr<const Batch>;

/// A batch inside the model. `permit` lets the next batch in when it is destroyed: after all else,
/// since the next step uses the same memory.
struct StepMessage {
  std::shared_ptr<void> permit;
  BatchPtr batch;
  std::shared_ptr<model::Step> step;
  double wait_seconds = 0;   ///< how long the model stood idle for this batch
  double start_seconds = 0;  ///< run clock when the first layer began
};
using StepPtr = std::shared_ptr<StepMessage>;

}  // namespace trib::pipeline
