#include "pipeline/engine/step_agreement.h"

#include <array>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/base/random.h"

namespace trib::pipeline {
namespace {

// A number that tells batches of different samples, or different pieces of them, apart.
std::uint32_t mark_of(const Batch& batch) {
  RandomStream marks(0, "samples");
  const auto mix = [&](std::int64_t value) {
    marks = marks.substream(static_cast<std::uint64_t>(value));
  };
  for (std::size_t b = 0; b < batch.requests.size(); ++b) {
    const io::Window& window = batch.provenance[b].window;
    mix(static_cast<std::int64_t>(batch.requests[b].position));
    for (const std::int64_t value : {window.y, window.x, window.height, window.width}) mix(value);
  }
  return static_cast<std::uint32_t>(marks.bits(0));
}

}  // namespace

void StepAgreement::add(const Batch& batch) {
  if (!group_.is_alone()) mark_ = mark_ * 31 + mark_of(batch);
}

StepAgreement::Settled StepAgreement::settle(std::int64_t step, double loss, const StepVotes& own) {
  // The ranks of a tensor group know the same loss: one of them speaks for all. Their marks must
  // be the same, and then add up to zero with these weights.
  const double weight = group_.rank() == 0 ? group_.size() - 1 : -1;
  const auto vote = [](bool yes) { return yes ? 1.0 : 0.0; };
  std::array<double, 6> shared{group_.rank() == 0 ? loss : 0.0,
                               weight * std::exchange(mark_, 0),
                               vote(own.stop),
                               vote(own.checkpoint_due),
                               vote(own.checkpoint_busy),
                               vote(own.checkpoint_failed)};
  communicator_.all_reduce_sum(axis_, std::span<double>(shared)).wait();
  if (shared[1] == 0) {
    return {shared[0], {shared[2] > 0, shared[3] > 0, shared[4] > 0, shared[5] > 0}};
  }
  throw DataError(
      fmt::format("step {}: the ranks of the tensor axis hold different samples. Either an image "
                  "was skipped on some of them alone, because a part of its channels is damaged, "
                  "or channels that miss different pixels made 'crop' choose different places: "
                  "set its max_missing to 1",
                  step));
}

}  // namespace trib::pipeline
