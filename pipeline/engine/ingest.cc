#include "pipeline/engine/ingest.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/base/error.h"
#include "pipeline/engine/failure.h"
#include "pipeline/observe/trace.h"
#include "pipeline/stage/no_sample.h"

namespace trib::pipeline {

Ingest::Ingest(Plan& plan, Threads& threads) : plan_(plan), threads_(threads) {}

void Ingest::leave_out(Packet& packet, const std::string& reason) const {
  packet.samples.clear();
  for (const SampleRequest& request : packet.requests) packet.skipped.push_back(request.position);
  const std::lock_guard lock(mutex_);
  last_reason_ = reason;
}

std::string Ingest::last_reason() const {
  const std::lock_guard lock(mutex_);
  return last_reason_;
}

void Ingest::note_skip(const PlannedNode& node, Packet& packet, const std::string& error) const {
  leave_out(packet, error);
  const SampleRequest& first = packet.requests.front();
  Skipped skipped{node.name(), plan_.describe(packet.split, first), error, first.source};
  const std::lock_guard lock(mutex_);
  const bool is_known = std::any_of(skipped_.begin(), skipped_.end(), [&](const Skipped& known) {
    return known.source == skipped.source && known.item == skipped.item;
  });
  if (is_known) return;
  skipped_.push_back(std::move(skipped));
  check_skips(first.source);
}

// A data set with many damaged items is not what its user takes it for.
void Ingest::check_skips(int source) const {
  const SourceStage& stage = source_of(source);
  std::int64_t items = stage.items(Split::train);
  if (stage.holds_out()) items += stage.items(Split::eval);
  const std::int64_t most = stage.read_errors().most_skipped(items);
  std::vector<std::string> reasons;
  std::int64_t count = 0;
  for (const Skipped& skipped : skipped_) {
    if (skipped.source != source) continue;
    constexpr std::size_t kTold = 5;
    if (reasons.size() < kTold) {
      reasons.push_back(fmt::format("\n  {}: {}", skipped.item, skipped.error));
    }
    ++count;
  }
  if (count <= most) return;
  throw DataError(
      fmt::format("{} of {} items of '{}' could not be read, and max_skipped allows {}:{}{}", count,
                  items, stage.node(), most, fmt::join(reasons, ""),
                  count > std::ssize(reasons) ? "\n  and others, see skipped.jsonl" : ""));
}

const SourceStage& Ingest::source_of(int source) const {
  return *plan_
              .nodes()[static_cast<std::size_t>(
                  plan_.sources()[static_cast<std::size_t>(source)].source)]
              .source;
}

PacketPtr Ingest::read(Split split, ReadTask task, const SampleSlot& slot) const {
  auto packet = std::make_shared<Packet>();
  packet->split = split;
  packet->requests = std::move(task.requests);
  const SampleRequest& first = packet->requests.front();
  const PlannedNode& node = plan_.nodes()[static_cast<std::size_t>(
      plan_.sources()[static_cast<std::size_t>(first.source)].source)];
  ReadTarget target{slot.x_cyx, slot.target_vyx, nullptr};
  if (!mapped_.empty()) {
    const Mapped& mapped = mapped_[static_cast<std::size_t>(first.source)];
    if (mapped.node != nullptr) target.maps = &mapped.maps;
  }
  const trace::Span span("io", node.name());
  try {
    Sample sample = node.source->read(split, first, target);
    sample.request = first;
    packet->samples.push_back(std::move(sample));
  } catch (const NoSample& reason) {
    leave_out(*packet, reason.what());
  } catch (const DataError& error) {
    if (!node.source->read_errors().skip) throw;
    note_skip(node, *packet, error.what());
  }
  return packet;
}

PacketPtr Ingest::apply(const PlannedNode& node, const PacketPtr& input, bool take) const {
  if (std::any_of(mapped_.begin(), mapped_.end(),
                  [&](const Mapped& mapped) { return mapped.node == &node; })) {
    return input;
  }
  const trace::Span span("ingest", node.name());
  auto output = std::make_shared<Packet>();
  output->split = input->split;
  output->requests = input->requests;
  output->skipped = input->skipped;
  output->credits = input->credits;
  output->read_credit = input->read_credit;
  std::vector<Sample> samples = take ? std::move(input->samples) : input->samples;
  const SourcePath& path =
      plan_.sources()[static_cast<std::size_t>(input->requests.front().source)];
  const bool expands =
      path.expanding >= 0 && &plan_.nodes()[static_cast<std::size_t>(path.expanding)] == &node;
  output->samples.reserve(expands ? output->requests.size() : samples.size());
  try {
    for (Sample& sample : samples) {
      const SampleRequest own = sample.request;
      const std::span<const SampleRequest> requests =
          expands ? std::span<const SampleRequest>(output->requests)
                  : std::span<const SampleRequest>(&own, 1);
      const std::size_t expected = output->samples.size() + requests.size();
      node.transform->apply(std::move(sample), output->split, requests, output->samples);
      // A sample that never comes would be waited for at the batch.
      if (output->samples.size() != expected) {
        throw RuntimeError(fmt::format(
            "stage '{}' made {} samples where {} were asked for", node.definition->type(),
            output->samples.size() + requests.size() - expected, requests.size()));
      }
    }
  } catch (const DataError& error) {
    if (!source_of(input->requests.front().source).read_errors().skip) throw;
    note_skip(node, *output, error.what());
  }
  return output;
}

PacketPtr Ingest::load(Split split, ReadTask task, const std::vector<int>& transforms) const {
  const SampleRequest first = task.requests.front();
  int node = plan_.sources()[static_cast<std::size_t>(first.source)].source;
  try {
    PacketPtr packet = read(split, std::move(task));
    for (const int at : transforms) {
      node = at;
      packet = apply(plan_.nodes()[static_cast<std::size_t>(at)], packet, true);
    }
    return packet;
  } catch (...) {
    Failure failure;
    failure.record_current(plan_.nodes()[static_cast<std::size_t>(node)].name(),
                           plan_.describe(split, first));
    failure.rethrow();
    throw;
  }
}

namespace {

// This rank's share of the first `count` samples of an epoch. Few pieces of many items tell more of
// the data than many pieces of few, so pieces are taken evenly.
std::vector<ReadTask> first_tasks(SamplerOptions options, std::int64_t count) {
  const auto samples = [&](std::int32_t cap) {
    std::int64_t total = 0;
    for (const auto& pieces : options.pieces) {
      for (const std::int32_t p : pieces) total += std::min(p, cap);
    }
    return total;
  };
  std::int32_t cap = 1;
  while (samples(cap) < count && samples(cap) < samples(cap + 1)) ++cap;
  for (auto& pieces : options.pieces) {
    for (std::int32_t& p : pieces) p = std::min(p, cap);
  }
  // One batch, of which each rank gets a contiguous share; what rounding adds is left out.
  const auto end = static_cast<std::uint64_t>(count);
  options.batch_size = (count + options.ranks - 1) / options.ranks * options.ranks;
  options.shuffle_window = 0;
  options.epochs = 1;
  options.consumed = {};  // a run that goes on sees the same ones
  Sampler sampler(std::move(options));
  std::vector<ReadTask> tasks;
  while (std::optional<ReadTask> task = sampler.next()) {
    if (task->requests.front().position >= end) break;
    std::erase_if(task->requests, [&](const SampleRequest& r) { return r.position >= end; });
    tasks.push_back(std::move(*task));
  }
  return tasks;
}

}  // namespace

void Ingest::measure(ops::Communicator& communicator, const std::string& run_folder) {
  mapped_.clear();
  for (std::size_t i = 0; i < plan_.nodes().size(); ++i) {
    const PlannedNode& node = plan_.nodes()[i];
    if (node.transform == nullptr) continue;
    // The stages between the source and this one; they have been measured before it.
    std::vector<int> before;
    int at = node.inputs.front();
    for (; plan_.nodes()[static_cast<std::size_t>(at)].source == nullptr;
         at = plan_.nodes()[static_cast<std::size_t>(at)].inputs.front()) {
      before.insert(before.begin(), at);
    }
    const auto feed = [&](std::int64_t count,
                          const std::function<void(std::int64_t, const Sample&)>& visit) {
      SamplerOptions options = plan_.sampler_options(Split::train);
      for (std::size_t s = 0; s < options.pieces.size(); ++s) {
        const SourcePath& path = plan_.sources()[s];
        if (path.source != at) {
          options.pieces[s].clear();
        } else if (std::find(before.begin(), before.end(), path.expanding) == before.end()) {
          // The stage sees whole images.
          for (std::int32_t& pieces : options.pieces[s]) pieces = std::min(pieces, 1);
        }
      }
      std::vector<ReadTask> tasks = first_tasks(std::move(options), count);
      threads_.for_each_io(static_cast<std::int64_t>(tasks.size()), [&](std::int64_t t) {
        const PacketPtr packet =
            load(Split::train, std::move(tasks[static_cast<std::size_t>(t)]), before);
        for (const Sample& sample : packet->samples) {
          visit(static_cast<std::int64_t>(sample.request.position), sample);
        }
      });
    };
    const trace::Span span("measure", node.name());
    node.transform->measure(feed, communicator, run_folder);
  }
  find_mapped();
}

void Ingest::find_mapped() {
  mapped_.resize(plan_.sources().size());
  for (std::size_t s = 0; s < mapped_.size(); ++s) {
    const SourcePath& path = plan_.sources()[s];
    const PlannedNode& source = plan_.nodes()[static_cast<std::size_t>(path.source)];
    if (path.transforms.empty() || source.outputs.size() != 1) continue;
    const PlannedNode& next = plan_.nodes()[static_cast<std::size_t>(path.transforms.front())];
    if (std::optional<ValueMaps> maps = next.transform->value_maps()) {
      mapped_[s] = {&next, std::move(*maps)};
    }
  }
}

// Whether samples come to the batch in the memory the source wrote them to.
bool Ingest::keeps_memory(const SourcePath& path) const {
  return path.expanding < 0 &&
         std::all_of(path.transforms.begin(), path.transforms.end(), [&](int at) {
           return plan_.nodes()[static_cast<std::size_t>(at)].transform->works_in_place();
         });
}

std::unique_ptr<BatchMemory> Ingest::batch_memory(const Sampler& order) const {
  if (plan_.batch_node() < 0) return nullptr;
  const auto& paths = plan_.sources();
  if (!std::all_of(paths.begin(), paths.end(), [&](const auto& p) { return keeps_memory(p); })) {
    return nullptr;
  }
  const StreamInfo& info = plan_.nodes()[static_cast<std::size_t>(plan_.batch_node())].info;
  const auto shape = [&](const std::vector<std::int64_t>& own) {
    return Shape{std::ssize(own), info.extent.height, info.extent.width};
  };
  return std::make_unique<BatchMemory>(plan_.rank_batch_size(), order, shape(info.own_channels),
                                       shape(info.own_targets));
}

std::vector<Sample> Ingest::held_out(std::int64_t count) const {
  std::vector<ReadTask> tasks = first_tasks(plan_.sampler_options(Split::eval), count);
  std::mutex mutex;
  std::map<std::uint64_t, Sample> by_position;
  threads_.for_each_io(static_cast<std::int64_t>(tasks.size()), [&](std::int64_t t) {
    ReadTask& task = tasks[static_cast<std::size_t>(t)];
    const SourcePath& path =
        plan_.sources()[static_cast<std::size_t>(task.requests.front().source)];
    const PacketPtr packet = load(Split::eval, std::move(task), path.transforms);
    const std::lock_guard lock(mutex);
    for (Sample& sample : packet->samples) {
      const std::uint64_t position = sample.request.position;
      by_position.emplace(position, std::move(sample));
    }
  });
  std::vector<Sample> samples;
  samples.reserve(by_position.size());
  for (auto& [position, sample] : by_position) samples.push_back(std::move(sample));
  return samples;
}

std::vector<Ingest::Skipped> Ingest::skipped() const {
  const std::lock_guard lock(mutex_);
  return skipped_;
}

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
