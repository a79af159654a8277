#include "pipeline/engine/sampler.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <unordered_map>

#include <fmt/format.h>
#include <xxhash.h>

#include "ops/base/error.h"
#include "ops/base/random.h"

namespace trib::pipeline {
namespace {

// Which rank a position was dealt to, and where its part of the batch ends.
struct Owner {
  std::size_t rank;
  std::uint64_t share_end;
};

Owner owner_of(const ConsumedSamples& part, std::uint64_t position) {
  const auto batch = static_cast<std::uint64_t>(part.batch_size);
  const std::uint64_t share = batch / static_cast<std::uint64_t>(part.ranks);
  const std::uint64_t rank = position % batch / share;
  return {static_cast<std::size_t>(rank), position - position % batch + (rank + 1) * share};
}

// These two look at one run alone, not at those before it.
bool part_contains(const ConsumedSamples& part, std::uint64_t position) {
  return part.ranks > 0 && position < part.next_positions[owner_of(part, position).rank];
}

std::uint64_t part_next_open(const ConsumedSamples& part, std::uint64_t position) {
  if (!part_contains(part, position)) return position;
  // Up to where the last rank stands nothing is open; from there on look share by share.
  position =
      std::max(position, *std::min_element(part.next_positions.begin(), part.next_positions.end()));
  while (part_contains(part, position)) {
    const Owner owner = owner_of(part, position);
    position = std::min(part.next_positions[owner.rank], owner.share_end);
  }
  return position;
}

}  // namespace

bool ConsumedSamples::contains(std::uint64_t position) const {
  return part_contains(*this, position) ||
         std::any_of(earlier.begin(), earlier.end(),
                     [&](const ConsumedSamples& part) { return part_contains(part, position); });
}

std::uint64_t ConsumedSamples::next_open(std::uint64_t position) const {
  while (contains(position)) {
    position = part_next_open(*this, position);
    for (const ConsumedSamples& part : earlier) position = part_next_open(part, position);
  }
  return position;
}

ConsumedSamples ConsumedSamples::continued(std::int64_t batch,
                                           std::vector<std::uint64_t> places) const {
  const int shared_by = static_cast<int>(places.size());
  ConsumedSamples all{batch, shared_by, std::move(places)};
  const std::uint64_t open = part_next_open(all, 0);
  // With the same shares every rank has come further; with others all must have come past it.
  const auto is_passed = [&](const ConsumedSamples& part) {
    if (part.ranks == 0) return true;
    if (part.batch_size == all.batch_size && part.ranks == all.ranks) return true;
    return *std::max_element(part.next_positions.begin(), part.next_positions.end()) <= open;
  };
  const auto keep_if_ahead = [&](const ConsumedSamples& part) {
    if (is_passed(part)) return;
    all.earlier.push_back({part.batch_size, part.ranks, part.next_positions});
  };
  keep_if_ahead(*this);
  for (const ConsumedSamples& part : earlier) keep_if_ahead(part);
  return all;
}

void ConsumedSamples::check() const {
  const auto ranks_known = static_cast<std::int64_t>(next_positions.size());
  if (ranks != 0 || ranks_known != 0) {
    if (ranks < 1 || batch_size < 1 || batch_size % ranks != 0 || ranks_known != ranks) {
      throw DataError(
          fmt::format("used samples: batches of {} over {} ranks, and positions of {} ranks, do "
                      "not belong together",
                      batch_size, ranks, ranks_known));
    }
  }
  for (const ConsumedSamples& part : earlier) {
    part.check();
    if (!part.earlier.empty()) throw DataError("used samples: an earlier run has earlier runs");
  }
}

Sampler::Sampler(SamplerOptions options)
    : options_(std::move(options)), share_(options_.batch_size / options_.ranks) {
  options_.consumed.check();
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
  if (samples_per_epoch_ == 0) return;
  // Epochs and windows before the first sample need not be gone through.
  const std::uint64_t start = own_position(0);
  const auto epoch = static_cast<std::uint64_t>(samples_per_epoch_);
  const auto window = static_cast<std::uint64_t>(this->window());
  epoch_ = static_cast<std::int64_t>(start / epoch) - 1;
  position_ = start - start % epoch + start % epoch / window * window;
}

// Pieces of one item stay together without shuffle_window, hence at least one batch.
std::int64_t Sampler::window() const {
  return std::max(options_.shuffle_window, options_.batch_size);
}

std::int32_t Sampler::pieces_of(std::size_t listed) const {
  const auto [source, item] = items_[listed];
  return options_.pieces[static_cast<std::size_t>(source)][static_cast<std::size_t>(item)];
}

bool Sampler::keeps_listed_order() const {
  return std::find(options_.order.begin(), options_.order.end(), ItemOrder::listed) !=
         options_.order.end();
}

std::uint64_t Sampler::own_index(std::uint64_t position) const {
  const auto batch = static_cast<std::uint64_t>(options_.batch_size);
  const auto share = static_cast<std::uint64_t>(share_);
  return position / batch * share + position % batch -
         static_cast<std::uint64_t>(options_.rank) * share;
}

std::int64_t Sampler::largest_window() const {
  const std::int64_t window = this->window();
  const std::int64_t batches =
      (window + options_.batch_size - 1) / options_.batch_size + 1;  // a window may cut two
  return std::min(batches * share_, std::max(window, share_));
}

std::uint64_t Sampler::share_position(std::uint64_t position) const {
  const auto batch = static_cast<std::uint64_t>(options_.batch_size);
  const auto share = static_cast<std::uint64_t>(share_);
  const std::uint64_t begin = static_cast<std::uint64_t>(options_.rank) * share;
  const std::uint64_t within = position % batch;
  if (within < begin) return position - within + begin;
  if (within < begin + share) return position;
  return position - within + batch + begin;
}

std::uint64_t Sampler::own_position(std::uint64_t position) const {
  for (position = share_position(position); options_.consumed.contains(position);) {
    position = share_position(options_.consumed.next_open(position));
  }
  return position;
}

std::uint64_t Sampler::fingerprint() const {
  // Without a shuffle window nothing is drawn inside of windows, and their size means nothing.
  std::vector<std::uint64_t> words{
      options_.seed, keeps_listed_order() ? 0U : 1U,
      options_.shuffle_window > 0 ? static_cast<std::uint64_t>(window()) : 0U};
  for (const auto& pieces : options_.pieces) {
    words.push_back(pieces.size());
    words.push_back(XXH3_64bits(pieces.data(), pieces.size() * sizeof(pieces[0])));
  }
  for (const auto& groups : options_.groups) {
    if (!groups.empty()) {
      words.push_back(XXH3_64bits(groups.data(), groups.size() * sizeof(groups[0])));
    }
  }
  return XXH3_64bits(words.data(), words.size() * sizeof(words[0]));
}

// A permutation of the items; with groups, one in which those of a group stand together: each group
// takes the place of its first item.
std::vector<std::int64_t> Sampler::shuffled_items() const {
  const std::vector<std::int64_t> drawn = RandomStream(options_.seed, "sampler.items")
                                              .substream(static_cast<std::uint64_t>(epoch_))
                                              .permutation(std::ssize(items_));
  std::map<std::pair<std::int32_t, std::int64_t>, std::size_t> place;  // of a group
  std::vector<std::vector<std::int64_t>> together;
  for (const std::int64_t listed : drawn) {
    const auto [source, item] = items_[static_cast<std::size_t>(listed)];
    const auto s = static_cast<std::size_t>(source);
    if (s >= options_.groups.size() || options_.groups[s].empty()) {
      together.push_back({listed});
      continue;
    }
    const std::int64_t group = options_.groups[s][static_cast<std::size_t>(item)];
    const auto [at, is_new] = place.try_emplace({source, group}, together.size());
    if (is_new) together.emplace_back();
    together[at->second].push_back(listed);
  }
  std::vector<std::int64_t> order;
  order.reserve(drawn.size());
  for (const auto& items : together) order.insert(order.end(), items.begin(), items.end());
  return order;
}

void Sampler::start_epoch() {
  ++epoch_;
  order_at_ = 0;
  piece_at_ = 0;
  if (keeps_listed_order()) {
    order_.resize(items_.size());
    std::iota(order_.begin(), order_.end(), 0);
  } else {
    order_ = shuffled_items();
  }
  // A run that goes on may begin inside of the epoch.
  auto passed =
      static_cast<std::int64_t>(position_ % static_cast<std::uint64_t>(samples_per_epoch_));
  while (passed > 0) {
    const std::int32_t pieces = pieces_of(static_cast<std::size_t>(order_[order_at_]));
    if (passed < pieces) {
      piece_at_ = static_cast<std::int32_t>(passed);
      break;
    }
    passed -= pieces;
    ++order_at_;
  }
}

void Sampler::fill_window() {
  window_.clear();
  window_at_ = 0;
  if (items_.empty()) return;
  if (order_at_ == order_.size()) {
    if (options_.epochs > 0 && epoch_ + 1 >= options_.epochs) return;
    start_epoch();
  }
  // The samples of the window, in listed order. A window ends with its epoch.
  const std::int64_t window = this->window();
  std::vector<SampleRequest> requests;
  while (order_at_ < order_.size() && static_cast<std::int64_t>(requests.size()) < window) {
    const auto listed = static_cast<std::size_t>(order_[order_at_]);
    const auto [source, item] = items_[listed];
    const std::int32_t pieces = pieces_of(listed);
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
