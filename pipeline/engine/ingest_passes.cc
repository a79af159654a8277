// Ingest: passes over the data outside the flow graph.
#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>

#include "pipeline/engine/failure.h"
#include "pipeline/engine/ingest.h"
#include "pipeline/observe/trace.h"

namespace trib::pipeline {

/// Lists of tasks, as many of them under way at a time as there are lanes. A lane waits for no
/// thread: the end of a read starts the next one. This object lives until all that reads call has
/// returned, also what was still starting a read when another thread ended it.
class Ingest::Pass {
 public:
  Pass(const Ingest& ingest, Split split, std::vector<std::vector<ReadTask>> lists,
       const std::vector<int>* transforms, const Visit& visit)
      : ingest_(ingest),
        split_(split),
        lists_(std::move(lists)),
        transforms_(transforms),
        visit_(visit) {}

  void run(std::size_t lanes) {
    lanes = std::min(lanes, lists_.size());
    next_list_ = lanes;
    for (std::size_t list = 0; list < lanes; ++list) go_on(list, 0);
    std::unique_lock lock(mutex_);
    all_done_.wait(lock, [&] { return reads_ == 0; });
    failure_.rethrow();
  }

 private:
  void go_on(std::size_t list, std::size_t task) {
    while (list < lists_.size() && task == lists_[list].size()) {
      list = next_list();
      task = 0;
    }
    if (list >= lists_.size() || failure_.happened()) return;
    ReadTask& next = lists_[list][task];
    const SampleRequest first = next.requests.front();
    begin_read();
    ingest_.start_read(
        split_, std::move(next),
        [this] { return failure_.happened() ? std::nullopt : std::optional(SampleSlot()); },
        [this, list, task, first](PacketPtr packet, const std::exception_ptr& error) {
          take(list, first, std::move(packet), error);
          go_on(list, task + 1);
          end_read();
        });
  }

  void begin_read() {
    const std::lock_guard lock(mutex_);
    ++reads_;
  }
  void end_read() {
    const std::lock_guard lock(mutex_);
    if (--reads_ == 0) all_done_.notify_one();
  }

  std::size_t next_list() {
    const std::lock_guard lock(mutex_);
    return next_list_ < lists_.size() ? next_list_++ : lists_.size();
  }

  // Transforms of the samples' own way, unless some are given.
  const std::vector<int>& transforms_of(const SampleRequest& request) const {
    return transforms_ != nullptr
               ? *transforms_
               : ingest_.plan_.sources()[static_cast<std::size_t>(request.source)].transforms;
  }

  void take(std::size_t list, const SampleRequest& first, PacketPtr packet,
            const std::exception_ptr& error) {
    std::string node = ingest_.source_of(first.source).name();
    try {
      if (error != nullptr) std::rethrow_exception(error);
      if (packet == nullptr) return;
      for (const int at : transforms_of(first)) {
        const PlannedNode& next = ingest_.plan_.nodes()[static_cast<std::size_t>(at)];
        node = next.name();
        packet = ingest_.apply(next, packet, true);
      }
      node.clear();
      visit_(list, *packet);
    } catch (...) {
      failure_.record_current(node, ingest_.plan_.describe(split_, first));
      ingest_.hurry();
    }
  }

  const Ingest& ingest_;
  const Split split_;
  std::vector<std::vector<ReadTask>> lists_;
  const std::vector<int>* const transforms_;
  const Visit& visit_;
  Failure failure_;
  std::mutex mutex_;
  std::condition_variable all_done_;
  std::size_t next_list_ = 0;
  std::size_t reads_ = 0;  // whose last call has not returned
};

void Ingest::load_lists(Split split, std::vector<std::vector<ReadTask>> lists,
                        const Visit& visit) const {
  Pass(*this, split, std::move(lists), nullptr, visit).run(io_threads_);
}

void Ingest::load_all(Split split, std::vector<ReadTask> tasks,
                      const std::function<void(const Packet&)>& visit) const {
  load_each(split, std::move(tasks), nullptr, visit);
}

void Ingest::load_each(Split split, std::vector<ReadTask> tasks, const std::vector<int>* transforms,
                       const std::function<void(const Packet&)>& visit) const {
  std::vector<std::vector<ReadTask>> lists(tasks.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) lists[i].push_back(std::move(tasks[i]));
  const Visit visit_packet = [&](std::size_t, const Packet& packet) { visit(packet); };
  Pass(*this, split, std::move(lists), transforms, visit_packet).run(io_threads_);
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
      load_each(Split::train, first_tasks(std::move(options), count), &before,
                [&](const Packet& packet) {
                  for (const Sample& sample : packet.samples) {
                    visit(static_cast<std::int64_t>(sample.request.position), sample);
                  }
                });
    };
    const trace::Span span("measure", node.name());
    node.transform->measure(feed, communicator, run_folder);
  }
  find_mapped();
}

std::vector<Sample> Ingest::held_out(std::int64_t count) const {
  std::vector<ReadTask> tasks = first_tasks(plan_.sampler_options(Split::eval), count);
  std::mutex mutex;
  std::map<std::uint64_t, Sample> by_position;
  load_all(Split::eval, std::move(tasks), [&](const Packet& packet) {
    const std::lock_guard lock(mutex);
    for (const Sample& sample : packet.samples) {
      by_position.emplace(sample.request.position, sample);
    }
  });
  std::vector<Sample> samples;
  samples.reserve(by_position.size());
  for (auto& [position, sample] : by_position) samples.push_back(std::move(sample));
  return samples;
}

}  // namespace trib::pipeline
