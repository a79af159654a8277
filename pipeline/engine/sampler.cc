#include "pipeline/engine/sampler.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "ops/base/random.h"

namespace trib::pipeline {

Sampler::Sampler(SamplerOptions options)
    : options_(std::move(options)), share_(options_.batch_size / options_.ranks) {
  std::int64_t largest_item = 0;
  for (std::size_t source = 0; source < options_.pieces.size(); ++source) {
    const auto& pieces = options_.pieces[source];
    for (std::size_t item = 0; item < pieces.size(); ++item) {
      if (pieces[item] == 0) continue;
      items_.emplace_back(static_cast<std::int32_t>(source), static_cast<std::int64_t>(item));
      samples_per_epoch_ += pieces[item];
      largest_item = std::max<std::int64_t>(largest_item, pieces[item]);
    }
  }
  largest_task_ = std::min(largest_item, largest_window());
}

std::int64_t Sampler::largest_window() const {
  // Pieces of one item stay together without a window, hence at least one batch.
  const std::int64_t window = std::max(options_.shuffle_window, options_.batch_size);
  const std::int64_t batches =
      (window + options_.batch_size - 1) / options_.batch_size + 1;  // a window may cut two
  return std::min(batches * share_, std::max(window, share_));
}

std::uint64_t Sampler::own_position(std::uint64_t position) const {
  const auto batch = static_cast<std::uint64_t>(options_.batch_size);
  const auto share = static_cast<std::uint64_t>(share_);
  const std::uint64_t begin = static_cast<std::uint64_t>(options_.rank) * share;
  const std::uint64_t within = position % batch;
  if (within < begin) return position - within + begin;
  if (within < begin + share) return position;
  return position - within + batch + begin;
}

void Sampler::start_epoch() {
  ++epoch_;
  order_at_ = 0;
  piece_at_ = 0;
  const auto count = static_cast<std::int64_t>(items_.size());
  const bool shuffled =
      std::all_of(options_.shuffled.begin(), options_.shuffled.end(), [](bool s) { return s; });
  if (shuffled) {
    order_ = RandomStream(options_.seed, "sampler.items")
                 .substream(static_cast<std::uint64_t>(epoch_))
                 .permutation(count);
  } else {
    order_.resize(static_cast<std::size_t>(count));
    std::iota(order_.begin(), order_.end(), 0);
  }
}

void Sampler::fill_window() {
  window_.clear();
  window_at_ = 0;
  if (items_.empty()) return;
  if (epoch_ < 0 || order_at_ == order_.size()) {
    if (options_.epochs > 0 && epoch_ + 1 >= options_.epochs) return;
    start_epoch();
  }
  // The samples of the window, in listed order. A window ends with its epoch.
  const std::int64_t window = std::max(options_.shuffle_window, options_.batch_size);
  std::vector<SampleRequest> requests;
  while (order_at_ < order_.size() && static_cast<std::int64_t>(requests.size()) < window) {
    const auto [source, item] = items_[static_cast<std::size_t>(order_[order_at_])];
    const std::int32_t pieces =
        options_.pieces[static_cast<std::size_t>(source)][static_cast<std::size_t>(item)];
    requests.push_back({0, epoch_, source, item, piece_at_});
    if (++piece_at_ == pieces) {
      piece_at_ = 0;
      ++order_at_;
    }
  }
  const auto count = static_cast<std::int64_t>(requests.size());
  std::vector<std::int64_t> permutation(requests.size());
  std::iota(permutation.begin(), permutation.end(), 0);
  if (options_.shuffle_window > 0) {
    permutation =
        RandomStream(options_.seed, "sampler.window").substream(position_).permutation(count);
  }
  std::unordered_map<std::int64_t, std::size_t> task_of_item;
  for (std::int64_t i = 0; i < count; ++i) {
    SampleRequest request =
        requests[static_cast<std::size_t>(permutation[static_cast<std::size_t>(i)])];
    request.position = position_ + static_cast<std::uint64_t>(i);
    if (own_position(request.position) != request.position) continue;
    const std::int64_t key =
        request.item * static_cast<std::int64_t>(options_.pieces.size()) + request.source;
    const auto [at, is_new] = task_of_item.try_emplace(key, window_.size());
    if (is_new) window_.emplace_back();
    window_[at->second].requests.push_back(request);
  }
  position_ += static_cast<std::uint64_t>(count);
}

std::optional<ReadTask> Sampler::next() {
  while (window_at_ == window_.size()) {
    const std::uint64_t before = position_;
    fill_window();
    if (position_ == before) return std::nullopt;
  }
  return std::move(window_[window_at_++]);
}

}  // namespace trib::pipeline
