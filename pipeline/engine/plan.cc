#include "pipeline/engine/plan.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include <fmt/format.h>

#include "model/model.h"
#include "model/parallel/gradients.h"
#include "model/state_piece.h"
#include "ops/base/error.h"
#include "pipeline/engine/stage_problems.h"
#include "pipeline/graph/diagnostics.h"

namespace trib::pipeline {

Plan::Plan(const GraphDefinition& graph, const Registry& registry, const PlanOptions& options)
    : options_(options),
      precision_(graph.settings.string("precision") == "bf16" ? model::Precision::bf16
                                                              : model::Precision::fp32),
      writes_checkpoints_(graph.checkpoints.integer("keep") > 0) {
  make_stages(graph, registry);
  connect_sources();
  limit_ingest(graph);
  check_evaluation();
}

int Plan::find(const std::string& name) const {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].definition != nullptr && nodes_[i].name() == name) return static_cast<int>(i);
  }
  return -1;
}

std::shared_ptr<model::Model> Plan::model() const {
  for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
    if (node->info.model != nullptr) return node->info.model;
  }
  return nullptr;
}

std::int64_t Plan::rank_batch_size() const {
  return batch_ < 0 ? 1 : nodes_[static_cast<std::size_t>(batch_)].info.batch_size;
}

model::ShardingPlan Plan::sharding() const {
  return {model()->table(), training_->sharding, options_.mesh, options_.place};
}

SourcePath Plan::path_to_source(int from) const {
  SourcePath path;
  for (int at = from;;) {
    const PlannedNode& node = nodes_[static_cast<std::size_t>(at)];
    if (node.source != nullptr) {
      path.source = at;
      break;
    }
    path.transforms.insert(path.transforms.begin(), at);
    at = node.inputs.front();
  }
  io::Extent extent = nodes_[static_cast<std::size_t>(path.source)].info.extent;
  for (const int at : path.transforms) {
    const TransformStage& transform = *nodes_[static_cast<std::size_t>(at)].transform;
    if (transform.pieces(Split::train, extent) > 0) {
      if (path.expanding >= 0) {
        throw ConfigError(fmt::format("'{}' and '{}' both cut samples into pieces; one may",
                                      nodes_[static_cast<std::size_t>(path.expanding)].name(),
                                      nodes_[static_cast<std::size_t>(at)].name()));
      }
      path.expanding = at;
    }
    extent = transform.output_extent(extent);
  }
  return path;
}

// Find what every source feeds. All consumers of a source see the same samples, hence the same
// pieces; a batch node, if there is one, takes from every source.
void Plan::connect_sources() {
  StageProblems problems;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const PlannedNode& consumer = nodes_[i];
    const bool takes_samples =
        consumer.batch != nullptr ||
        (consumer.sink != nullptr &&
         nodes_[static_cast<std::size_t>(consumer.inputs.front())].info.kind ==
             StreamKind::samples);
    if (!takes_samples) continue;
    try {
      std::vector<int> fed_by;
      for (const int input : consumer.inputs) {
        SourcePath path = path_to_source(input);
        if (std::find(fed_by.begin(), fed_by.end(), path.source) != fed_by.end()) {
          throw ConfigError(fmt::format("'{}' reaches it on two ways",
                                        nodes_[static_cast<std::size_t>(path.source)].name()));
        }
        fed_by.push_back(path.source);
        const auto known =
            std::find_if(sources_.begin(), sources_.end(),
                         [&](const SourcePath& other) { return other.source == path.source; });
        if (known == sources_.end()) {
          sources_.push_back(std::move(path));
          continue;
        }
        if (known->expanding != path.expanding) {
          throw ConfigError(
              fmt::format("samples of '{}' are cut into pieces on one way and not "
                          "on another",
                          nodes_[static_cast<std::size_t>(path.source)].name()));
        }
        // The way to the batch node is the one evaluation takes.
        if (consumer.batch != nullptr) *known = std::move(path);
      }
    } catch (const Error& error) {
      problems.add(*consumer.definition, error);
    }
  }
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const PlannedNode& node = nodes_[i];
    const auto number = static_cast<int>(i);
    const bool is_end = node.train != nullptr || node.sink != nullptr;
    if (!is_end && node.outputs.empty()) {
      problems.add(*node.definition,
                   ConfigError("leads nowhere; end it with 'train', 'write.tensors' or 'sink'"));
    }
    if (node.info.kind == StreamKind::steps && node.outputs.size() > 1) {
      problems.add(*node.definition, ConfigError("feeds several nodes, but a model is one chain"));
    }
    if (node.source == nullptr || batch_ < 0) continue;
    const auto& batch_inputs = nodes_[static_cast<std::size_t>(batch_)].inputs;
    const bool batched = std::any_of(batch_inputs.begin(), batch_inputs.end(), [&](int input) {
      return path_to_source(input).source == number;
    });
    if (!batched && !node.outputs.empty()) {
      problems.add(*node.definition,
                   ConfigError(fmt::format("does not reach '{}'; give it a graph of its own",
                                           nodes_[static_cast<std::size_t>(batch_)].name())));
    }
  }
  if (nodes_.empty()) throw ConfigError("the graph has no nodes");
  problems.throw_if_any();
}

std::int64_t Plan::pieces(Split split, const SourcePath& path, std::int64_t item) const {
  if (path.expanding < 0) return 1;
  io::Extent extent = nodes_[static_cast<std::size_t>(path.source)].source->extent(split, item);
  for (const int at : path.transforms) {
    const TransformStage& transform = *nodes_[static_cast<std::size_t>(at)].transform;
    if (at == path.expanding) return transform.pieces(split, extent);
    extent = transform.output_extent(extent);
  }
  return 1;
}

bool Plan::holds_out(const SourcePath& path) const {
  return nodes_[static_cast<std::size_t>(path.source)].source->holds_out() ||
         std::any_of(path.transforms.begin(), path.transforms.end(), [&](int at) {
           return nodes_[static_cast<std::size_t>(at)].transform->holds_out();
         });
}

SamplerOptions Plan::sampler_options(Split split) const {
  SamplerOptions options;
  options.seed = options_.seed;
  options.ranks = options_.data_ranks();
  options.rank = options_.data_rank();
  options.batch_size = rank_batch_size() * micro_batches() * options_.data_ranks();
  for (const SourcePath& path : sources_) {
    const SourceStage& source = *nodes_[static_cast<std::size_t>(path.source)].source;
    // What a path without a holdout delivers is trained on: nothing of it may be evaluated on.
    const bool used = split == Split::train || holds_out(path);
    std::vector<std::int32_t> counts(used ? static_cast<std::size_t>(source.items(split)) : 0);
    for (std::size_t item = 0; item < counts.size(); ++item) {
      counts[item] =
          static_cast<std::int32_t>(pieces(split, path, static_cast<std::int64_t>(item)));
    }
    const std::size_t count = counts.size();
    options.pieces.push_back(std::move(counts));
    const ItemOrder order = split == Split::train ? source.order() : ItemOrder::listed;
    options.order.push_back(order);
    std::vector<std::int64_t> groups;
    if (order == ItemOrder::grouped) {
      for (std::size_t item = 0; item < count; ++item) {
        groups.push_back(source.group(split, static_cast<std::int64_t>(item)));
      }
    }
    options.groups.push_back(std::move(groups));
  }
  if (split == Split::train && batch_ >= 0) {
    options.shuffle_window = nodes_[static_cast<std::size_t>(batch_)].batch->shuffle_window();
  }
  options.epochs = split == Split::train && training_ ? 0 : 1;
  if (split == Split::train) options.consumed = consumed_;
  return options;
}

std::string Plan::describe(Split split, const SampleRequest& request) const {
  const SourcePath& path = sources_[static_cast<std::size_t>(request.source)];
  return nodes_[static_cast<std::size_t>(path.source)].source->describe(split, request.item);
}

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

void Plan::check_evaluation() const {
  if (!training_ || training_->evaluate_every == 0) return;
  Diagnostics problems;
  const NodeDefinition& train = *nodes_[static_cast<std::size_t>(find(training_->node))].definition;
  if (std::none_of(sources_.begin(), sources_.end(),
                   [&](const SourcePath& path) { return holds_out(path); })) {
    problems.add(train.mark, train.name,
                 "evaluates on samples that are held out, but no stage holds any out: set "
                 "'holdout' on the reader or on crop, or evaluate_every: 0");
  } else {
    const Sampler sampler(sampler_options(Split::eval));
    if (sampler.samples_per_epoch() < training_->evaluate_samples) {
      problems.add(train.mark, train.name,
                   fmt::format("evaluate_samples is {}, but only {} samples are held out",
                               training_->evaluate_samples, sampler.samples_per_epoch()));
    }
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
