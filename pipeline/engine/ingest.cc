#include "pipeline/engine/ingest.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/base/error.h"
#include "pipeline/engine/failure.h"
#include "pipeline/observe/trace.h"
#include "pipeline/stage/no_sample.h"

namespace trib::pipeline {

Ingest::Ingest(Plan& plan, Threads& threads)
    : plan_(plan), io_threads_(static_cast<std::size_t>(threads.io())), watch_(threads) {
  for (std::size_t s = 0; s < plan_.sources().size(); ++s) {
    const PlannedNode& node = source_of(static_cast<int>(s));
    for (UnreadableFile& file : node.source->unreadable_files()) {
      skipped_.push_back(
          {node.name(), std::move(file.file), std::move(file.error), static_cast<int>(s)});
    }
  }
}

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
  const SourceStage& stage = *source_of(source).source;
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

const PlannedNode& Ingest::source_of(int source) const {
  return plan_
      .nodes()[static_cast<std::size_t>(plan_.sources()[static_cast<std::size_t>(source)].source)];
}

// May be under way when all else is gone, and has all it needs.
ReadWatch::Read Ingest::read_of(Split split, const SampleRequest& request, SampleSlot slot) const {
  const PlannedNode& node = source_of(request.source);
  return [stage = node.stage, source = node.source, name = node.name(), split, request,
          maps = maps_of(request.source), slot = std::move(slot)]() mutable {
    const trace::Span span("io", name);
    // The sample alone holds its memory when the read is over.
    const SampleSlot own = std::exchange(slot, {});
    Sample sample = source->read(split, request, {own.x_cyx, own.target_vyx, maps.get()});
    sample.request = request;
    return sample;
  };
}

void Ingest::start_read(Split split, ReadTask task, Place place, Done done) const {
  auto packet = std::make_shared<Packet>();
  packet->split = split;
  packet->requests = std::move(task.requests);
  const SampleRequest first = packet->requests.front();
  const PlannedNode& node = source_of(first.source);
  auto begin = [this, split, first, place = std::move(place)]() -> ReadWatch::Read {
    std::optional<SampleSlot> slot = place();
    return slot ? read_of(split, first, std::move(*slot)) : nullptr;
  };
  // Called once. Nothing of the packet may stay behind in here: when `done` returns, the budget its
  // credits belong to may be gone.
  auto finish = [this, &node, packet = std::move(packet), done = std::move(done)](
                    std::optional<Sample> sample, const std::exception_ptr& error) mutable {
    try {
      if (error != nullptr) std::rethrow_exception(error);
      if (!sample) return done(nullptr, nullptr);
      packet->samples.push_back(std::move(*sample));
    } catch (...) {
      if (const std::exception_ptr fault = skip_if_allowed(node, *packet)) {
        return done(nullptr, fault);
      }
    }
    done(std::move(packet), nullptr);
  };
  watch_.enqueue(node.source->read_errors().timeout_seconds, std::move(begin), std::move(finish));
}

// Take the exception being handled as a reason to leave out a packet. Returns what must end the run
// instead, if anything.
std::exception_ptr Ingest::skip_if_allowed(const PlannedNode& node, Packet& packet) const {
  try {
    throw;
  } catch (const NoSample& reason) {
    leave_out(packet, reason.what());
    return nullptr;
  } catch (const DataError& error) {
    if (!source_of(packet.requests.front().source).source->read_errors().skip) {
      return std::current_exception();
    }
    try {
      note_skip(node, packet, error.what());
      return nullptr;
    } catch (...) {
      return std::current_exception();
    }
  } catch (...) {
    return std::current_exception();
  }
}

std::shared_ptr<const ValueMaps> Ingest::maps_of(int source) const {
  return mapped_.empty() ? nullptr : mapped_[static_cast<std::size_t>(source)].maps;
}

void Ingest::hurry() const {
  constexpr double kGraceSeconds = 10;
  watch_.hurry(kGraceSeconds);
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
  } catch (...) {
    const std::exception_ptr fault = skip_if_allowed(node, *output);
    if (fault != nullptr) std::rethrow_exception(fault);
  }
  return output;
}

void Ingest::find_mapped() {
  mapped_.resize(plan_.sources().size());
  for (std::size_t s = 0; s < mapped_.size(); ++s) {
    const SourcePath& path = plan_.sources()[s];
    const PlannedNode& source = plan_.nodes()[static_cast<std::size_t>(path.source)];
    if (path.transforms.empty() || source.outputs.size() != 1) continue;
    const PlannedNode& next = plan_.nodes()[static_cast<std::size_t>(path.transforms.front())];
    if (std::optional<ValueMaps> maps = next.transform->value_maps()) {
      mapped_[s] = {&next, std::make_shared<const ValueMaps>(std::move(*maps))};
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

std::vector<Ingest::Skipped> Ingest::skipped() const {
  const std::lock_guard lock(mutex_);
  return skipped_;
}

}  // namespace trib::pipeline
