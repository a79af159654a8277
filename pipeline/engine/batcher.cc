#include "pipeline/engine/batcher.h"

#include <algorithm>

#include "pipeline/engine/collate.h"

namespace trib::pipeline {

Batcher::Batcher(std::int64_t batch_size, const Sampler& order, BatchMemory* memory)
    : batch_size_(static_cast<std::size_t>(batch_size)),
      order_(order),
      memory_(memory),
      next_position_(order.own_position(0)) {}

std::vector<BatchPtr> Batcher::add(const PacketPtr& packet, bool take) {
  for (Sample& sample : packet->samples) {
    const std::uint64_t position = sample.request.position;
    const auto request = std::find_if(packet->requests.begin(), packet->requests.end(),
                                      [&](const auto& r) { return r.position == position; });
    const auto index = static_cast<std::size_t>(request - packet->requests.begin());
    waiting_.insert_or_assign(
        position, Waiting{packet->credits[index], take ? std::move(sample) : sample, false});
  }
  for (const std::uint64_t position : packet->skipped) {
    waiting_.insert_or_assign(position, Waiting{nullptr, {}, true});
  }
  std::vector<BatchPtr> batches;
  for (auto next = waiting_.begin(); next != waiting_.end() && next->first == next_position_;
       next = waiting_.begin()) {
    if (!next->second.skipped) ready_.push_back(std::move(next->second));
    waiting_.erase(next);
    next_position_ = order_.own_position(next_position_ + 1);
    if (ready_.size() < batch_size_) continue;
    batches.push_back(make_batch());
    if (memory_ != nullptr) memory_->begin_batch(next_position_);
  }
  return batches;
}

BatchPtr Batcher::make_batch() {
  std::vector<Sample> samples;
  std::vector<std::shared_ptr<const Credit>> credits;
  for (Waiting& one : ready_) {
    samples.push_back(std::move(one.sample));
    credits.push_back(std::move(one.credit));
  }
  ready_.clear();
  auto batch = std::make_shared<Batch>(collate(std::move(samples)));
  batch->index = batches_++;
  batch->credits = std::move(credits);
  return batch;
}

}  // namespace trib::pipeline
