// The ingest side of a rank outside the flow graph: reading items, applying stages to packets, and
// the passes over the data that come before a run.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ops/comm/communicator.h"
#include "pipeline/engine/batch_memory.h"
#include "pipeline/engine/plan.h"
#include "pipeline/engine/read_watch.h"
#include "pipeline/engine/threads.h"

namespace trib::pipeline {

class Ingest {
 public:
  Ingest(Plan& plan, Threads& threads);

  /// Where to put the sample of a read; nothing if it is not wanted any more.
  using Place = std::function<std::optional<SampleSlot>()>;
  /// Gets the packet of a read, its sole owner, or what went wrong, or neither if it was not wanted
  /// any more.
  using Done = std::function<void(PacketPtr, std::exception_ptr)>;
  /// Read the item of a task some time later, on an I/O thread, to the place that is asked for
  /// then, and call `done` once. A read that takes longer than the source's timeout is given up, as
  /// bad data. Bad data gives a packet without samples if the source skips errors, and is listed in
  /// skipped(). So does a sample that the source leaves out (see NoSample), which is not listed.
  void start_read(Split split, ReadTask task, Place place, Done done) const;
  /// Nobody needs the reads under way any more: do not wait long for those that hang.
  void hurry() const;
  /// Apply one stage. With `take` the samples of `input` are used up, else they are shared.
  PacketPtr apply(const PlannedNode& node, const PacketPtr& input, bool take) const;

  /// Gets the samples of a task as they are batched, and the number of its list.
  using Visit = std::function<void(std::size_t list, const Packet&)>;
  /// Read lists of tasks, as many at a time as there are I/O threads, and the tasks of each one
  /// after another: calls of `visit` for one list do not overlap and are in its order. Throws the
  /// first error; one of a read or a stage names node and item.
  void load_lists(Split split, std::vector<std::vector<ReadTask>> lists, const Visit& visit) const;
  /// The same for tasks in any order.
  void load_all(Split split, std::vector<ReadTask> tasks,
                const std::function<void(const Packet&)>& visit) const;

  /// Let every stage that asks learn from the first training samples. From then on sources map
  /// values for the stages behind them that do nothing else.
  void measure(ops::Communicator& communicator, const std::string& run_folder);
  /// Memory for batches that readers can write their samples to; null if there is no such way from
  /// a source to the batch. `order` must live as long as it does.
  std::unique_ptr<BatchMemory> batch_memory(const Sampler& order) const;
  /// This rank's share of the first `count` held-out samples, in order, as they are batched.
  std::vector<Sample> held_out(std::int64_t count) const;

  struct Skipped {
    std::string node, item, error;
    int source = 0;  ///< as in SampleRequest
  };
  /// What was skipped because it is damaged, each item once.
  std::vector<Skipped> skipped() const;
  /// Why the last sample that did not come was skipped or left out; empty if all came.
  std::string last_reason() const;

 private:
  class Pass;

  void leave_out(Packet& packet, const std::string& reason) const;
  /// load_all() up to the last of `transforms`; null: all on the way to the batch.
  void load_each(Split split, std::vector<ReadTask> tasks, const std::vector<int>* transforms,
                 const std::function<void(const Packet&)>& visit) const;
  /// List the item of a packet as skipped because of what `node` said. Throws DataError if its
  /// source may skip no more.
  void note_skip(const PlannedNode& node, Packet& packet, const std::string& error) const;
  void find_mapped();
  bool keeps_memory(const SourcePath& path) const;

  /// A stage whose work the source does.
  struct Mapped {
    const PlannedNode* node = nullptr;
    std::shared_ptr<const ValueMaps> maps;  // shared with reads under way
  };

  ReadWatch::Read read_of(Split split, const SampleRequest& request, SampleSlot slot) const;
  std::exception_ptr skip_if_allowed(const PlannedNode& node, Packet& packet) const;
  std::shared_ptr<const ValueMaps> maps_of(int source) const;
  void check_skips(int source) const;  // with mutex_ held
  const PlannedNode& source_of(int source) const;

  Plan& plan_;
  const std::size_t io_threads_;
  std::vector<Mapped> mapped_;  // [source], once all is measured
  mutable ReadWatch watch_;
  mutable std::mutex mutex_;
  mutable std::vector<Skipped> skipped_;
  mutable std::string last_reason_;
};

}  // namespace trib::pipeline
