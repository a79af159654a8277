// Plan: what the ingest may hold, and the memory of a rank.
#include <algorithm>
#include <functional>
#include <numeric>

#include <fmt/format.h>

#include "model/model.h"
#include "model/parallel/gradients.h"
#include "model/state_piece.h"
#include "ops/base/error.h"
#include "pipeline/engine/plan.h"
#include "pipeline/graph/diagnostics.h"

namespace trib::pipeline {

ReadBytes Plan::read_bytes(const SourcePath& path, std::int64_t item,
                           std::int64_t pieces_of_task) const {
  const PlannedNode& source = nodes_[static_cast<std::size_t>(path.source)];
  io::Extent extent = source.source->extent(Split::train, item);
  std::int64_t before = source.info.sample_bytes(extent);
  ReadBytes most{before, before};
  std::int64_t count = 1;
  for (const int at : path.transforms) {
    const PlannedNode& node = nodes_[static_cast<std::size_t>(at)];
    if (at == path.expanding) count = pieces_of_task;
    extent = node.transform->output_extent(extent);
    const std::int64_t after = count * node.info.sample_bytes(extent);
    most.waiting = std::max(most.waiting, after);
    most.working = std::max(most.working, before + after);
    before = after;
  }
  most.working = std::max(most.working, pieces_of_task * ingest_.sample_bytes);
  return most;
}

std::int64_t Plan::task_bytes(const ReadTask& task) const {
  const SampleRequest& first = task.requests.front();
  return read_bytes(sources_[static_cast<std::size_t>(first.source)], first.item,
                    static_cast<std::int64_t>(task.requests.size()))
      .working;
}

// The budget counts the samples of a read from its start, but until they are cut there is only the
// image. So of each read under way counts what it holds beyond its samples; of as many as there are
// threads while they are worked on, of the others while they wait.
std::int64_t Plan::image_bytes() const {
  // Reads of an epoch differ in size and number of samples; so many tell what the largest are.
  constexpr int kTasks = 1 << 16;
  SamplerOptions options = sampler_options(Split::train);
  options.epochs = 1;
  Sampler sampler(std::move(options));
  std::vector<std::int64_t> waiting, working;
  for (int i = 0; i < kTasks; ++i) {
    const std::optional<ReadTask> task = sampler.next();
    if (!task) break;
    const SampleRequest& first = task->requests.front();
    const auto count = static_cast<std::int64_t>(task->requests.size());
    const ReadBytes bytes =
        read_bytes(sources_[static_cast<std::size_t>(first.source)], first.item, count);
    const std::int64_t samples = count * ingest_.sample_bytes;
    waiting.push_back(std::max<std::int64_t>(0, bytes.waiting - samples));
    working.push_back(bytes.working - samples);
  }
  const auto sum_of_largest = [](std::vector<std::int64_t>& values, std::int64_t count) {
    std::sort(values.begin(), values.end(), std::greater<>());
    values.resize(std::min(values.size(), static_cast<std::size_t>(count)));
    return std::accumulate(values.begin(), values.end(), std::int64_t{0});
  };
  const std::int64_t threads = std::min<std::int64_t>(options_.compute_threads, ingest_.reads);
  return sum_of_largest(working, threads) + sum_of_largest(waiting, ingest_.reads - threads);
}

// Bytes of the sources' caches. If they wish for more than there is, each gets its share.
std::int64_t Plan::limited_caches(std::int64_t most) const {
  std::vector<SourceStage*> stages;
  std::int64_t wished = 0;
  for (const SourcePath& path : sources_) {
    stages.push_back(nodes_[static_cast<std::size_t>(path.source)].source);
    wished += stages.back()->cache_bytes();
  }
  if (wished <= most) return wished;
  const double share =
      static_cast<double>(std::max<std::int64_t>(most, 0)) / static_cast<double>(wished);
  std::int64_t bytes = 0;
  for (SourceStage* stage : stages) {
    stage->limit_cache(
        static_cast<std::int64_t>(share * static_cast<double>(stage->cache_bytes())));
    bytes += stage->cache_bytes();
  }
  return bytes;
}

void Plan::limit_ingest(const GraphDefinition& graph) {
  for (const SourcePath& path : sources_) {
    const int last = path.transforms.empty() ? path.source : path.transforms.back();
    ingest_.sample_bytes =
        std::max(ingest_.sample_bytes, nodes_[static_cast<std::size_t>(last)].info.sample_bytes());
  }
  const Sampler sampler(sampler_options(Split::train));
  if (sampler.samples_per_epoch() == 0) throw DataError("no image is large enough for one sample");
  std::int64_t largest_task_bytes = 0;
  for (const SourcePath& path : sources_) {
    const SourceStage& source = *nodes_[static_cast<std::size_t>(path.source)].source;
    for (std::int64_t item = 0; item < source.items(Split::train); ++item) {
      const std::int64_t count = std::min(pieces(Split::train, path, item), sampler.largest_task());
      if (count == 0) continue;
      largest_task_bytes = std::max(largest_task_bytes, read_bytes(path, item, count).working);
    }
  }
  const std::int64_t batch = rank_batch_size();
  const int io_threads = static_cast<int>(graph.ingest.integer("threads"));
  // What may wait for a batch to be complete, the batch being stacked, and one more read.
  const std::int64_t waiting = sampler.largest_window() + batch;
  ingest_.collate_bytes = batch_ < 0 ? 0 : batch * ingest_.sample_bytes;
  ingest_.least_items = waiting + sampler.largest_task();
  ingest_.least_bytes = waiting * ingest_.sample_bytes + largest_task_bytes + ingest_.collate_bytes;
  // Every thread busy, with a read in hand for the next to be free.
  ingest_.reads = 2 * io_threads + options_.compute_threads;
  ingest_.image_bytes = image_bytes();
  ingest_.items = graph.ingest.integer("items");
  ingest_.bytes = graph.ingest.bytes("bytes");
  if (ingest_.items == 0) {
    // Enough for two more batches behind the one in the model, and for every thread to be busy.
    const std::int64_t busy = io_threads + options_.compute_threads;
    ingest_.items = ingest_.least_items + 2 * batch + busy * sampler.largest_task();
  }
  // Caches take what samples leave over.
  ingest_.cache_bytes =
      limited_caches(ingest_.bytes - std::max(ingest_.least_bytes,
                                              ingest_.items * ingest_.sample_bytes +
                                                  ingest_.image_bytes + ingest_.collate_bytes));
  ingest_.least_bytes += ingest_.cache_bytes;
  Diagnostics problems;
  if (ingest_.items < ingest_.least_items) {
    problems.add(graph.ingest.mark("items"), "",
                 fmt::format("ingest.items is {}, but shuffle and batch need at least {} samples "
                             "in flight",
                             ingest_.items, ingest_.least_items));
  }
  if (ingest_.bytes < ingest_.least_bytes) {
    problems.add(graph.ingest.mark("bytes"), "",
                 fmt::format("ingest.bytes is {} bytes, but shuffle and batch need at least {} ({} "
                             "samples of {} bytes, a read of {}, a batch, and {} of caches)",
                             ingest_.bytes, ingest_.least_bytes, waiting, ingest_.sample_bytes,
                             largest_task_bytes, ingest_.cache_bytes));
  }
  problems.throw_if_any();
}

std::array<std::int64_t, kMemoryKinds> Plan::predicted_bytes() const {
  std::array<std::int64_t, kMemoryKinds> bytes{};
  const auto of = [&](MemoryKind kind) -> std::int64_t& {
    return bytes[static_cast<std::size_t>(kind)];
  };
  // Waiting samples, images they are cut from and the batch being stacked, within what the budget
  // allows.
  const std::int64_t flowing =
      std::min(ingest_.bytes - ingest_.cache_bytes,
               ingest_.items * ingest_.sample_bytes + ingest_.image_bytes + ingest_.collate_bytes);
  of(MemoryKind::ingest) = ingest_.cache_bytes + flowing;
  if (const auto model = this->model(); model != nullptr) {
    constexpr auto kBytes = static_cast<std::int64_t>(sizeof(float));
    constexpr auto kBf16Bytes = static_cast<std::int64_t>(sizeof(BFloat16));
    of(MemoryKind::parameters) =
        model->table().flat_size() * kBytes + model->table().bf16_size() * kBf16Bytes;
    of(MemoryKind::activations) = model->arena_bytes(rank_batch_size(), training_.has_value());
    if (training_) {
      const model::ShardingPlan sharding = this->sharding();
      of(MemoryKind::parameters) = sharding.values() * kBytes + sharding.bf16_values() * kBf16Bytes;
      of(MemoryKind::gradients) = (sharding.gradients() + sharding.unreduced_gradients()) * kBytes;
      of(MemoryKind::optimizer) = 2 * sharding.moments() * kBytes;
      of(MemoryKind::communication) = sharding.communication_bytes() +
                                      model::partial_gradient_bytes(model->table(), model->group());
      if (writes_checkpoints_) {
        std::int64_t elements = 0;
        for (const auto& piece : sharding.written_pieces(model->group())) {
          elements += piece.elements.size();
        }
        of(MemoryKind::checkpoint) = model::kStatesOfElement * elements * kBytes;
      }
      if (training_->evaluate_every > 0) {
        // They stay for the whole run; before it they are stacked.
        const std::int64_t held_out =
            training_->evaluate_samples / options_.data_ranks() * ingest_.sample_bytes;
        of(MemoryKind::ingest) = ingest_.cache_bytes + held_out + std::max(flowing, held_out);
      }
    }
  }
  return bytes;
}

}  // namespace trib::pipeline
