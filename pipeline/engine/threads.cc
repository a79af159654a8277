#include "pipeline/engine/threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <tbb/concurrent_queue.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include "ops/base/error.h"
#include "pipeline/engine/abandoned.h"
#include "pipeline/engine/binding.h"
#include "pipeline/engine/numa.h"

namespace trib::pipeline {
namespace {

constexpr int kMaxThreads = 2 * kMaxComputeThreads;  // memory regions of Debian's OpenBLAS

}  // namespace

// TBB's arenas cannot grow. So what is to be done on I/O threads stands in a queue, for each body
// an arena with free threads gets the task to take the next one, and a thread that is blocked for
// ever is replaced by another arena.
struct Threads::Arenas {
  Arenas(int compute, int io, const std::vector<cpu_set_t>& compute_places)
      : compute_arena(compute, 1),
        compute_binding(compute_arena, compute_places),
        binds(!compute_places.empty()) {
    allow(compute + io + abandoned_threads());  // which count as long as they are blocked
    add_group(io);
  }

  void add_group(int threads) {
    auto arena = std::make_unique<tbb::task_arena>(threads, 0);
    auto binding = std::make_unique<NodeBinding>(*arena, cores, binds);
    groups.push_back({std::move(arena), std::move(binding), threads});
  }

  // TBB alone would not start more threads than cores; the least of several limits holds.
  void allow(int threads) {
    auto wider = std::make_unique<tbb::global_control>(tbb::global_control::max_allowed_parallelism,
                                                       static_cast<std::size_t>(threads));
    limit = std::move(wider);
    allowed = threads;
  }

  using Queue = tbb::concurrent_queue<std::function<void()>>;

  // A task may outlive these arenas behind one that is blocked.
  static void take_next(const std::shared_ptr<Queue>& queue, IoThread group) {
    std::function<void()> body;
    if (!queue->try_pop(body)) return;
    const IoThread before = std::exchange(current_group, group);
    body();
    current_group = before;
  }

  // Give each group with free threads a task, since any may be busy for long.
  void announce() {
    for (IoThread g = 0; g < groups.size(); ++g) {
      if (groups[g].free == 0) continue;
      groups[g].arena->enqueue([queue = queue, g] { take_next(queue, g); });
    }
  }

  struct Group {
    std::unique_ptr<tbb::task_arena> arena;
    std::unique_ptr<NodeBinding> binding;
    int free = 0;  // threads that are not blocked for ever
  };

  std::unique_ptr<tbb::global_control> limit;
  int allowed = 0;
  tbb::task_arena compute_arena;
  SlotBinding compute_binding;
  bool binds;
  // Groups may be added by a thread that is kept on some of them.
  const cpu_set_t cores = allowed_cores();
  std::mutex mutex;  // of the groups
  std::vector<Group> groups;
  std::shared_ptr<Queue> queue = std::make_shared<Queue>();
  static thread_local IoThread current_group;
};

thread_local IoThread Threads::Arenas::current_group = 0;

Threads::Threads(int compute, int io, const std::vector<cpu_set_t>& compute_places)
    : compute_(compute), io_(io) {
  if (compute < 1 || io < 1 || compute + io > kMaxThreads) {
    throw ConfigError(
        fmt::format("{} compute and {} I/O threads: at least 1 each and at most {} "
                    "together",
                    compute, io, kMaxThreads));
  }
  arenas_ = std::make_unique<Arenas>(compute, io, compute_places);
}

Threads::~Threads() = default;

void Threads::compute_and_wait(const std::function<void()>& body) {
  arenas_->compute_arena.execute(body);
}

void Threads::enqueue_io(std::function<void()> body) {
  arenas_->queue->push(std::move(body));
  const std::lock_guard lock(arenas_->mutex);
  arenas_->announce();
}

IoThread Threads::current_io_thread() const {
  return Arenas::current_group;
}

void Threads::replace_io_thread(IoThread blocked) {
  const std::lock_guard lock(arenas_->mutex);
  --arenas_->groups[blocked].free;
  arenas_->allow(arenas_->allowed + 1);
  arenas_->add_group(1);
  // The tasks for what is waiting may all stand behind the blocked one.
  const auto waiting = static_cast<std::int64_t>(arenas_->queue->unsafe_size());
  const IoThread added = arenas_->groups.size() - 1;
  for (std::int64_t i = 0; i < waiting; ++i) {
    arenas_->groups.back().arena->enqueue(
        [queue = arenas_->queue, added] { Arenas::take_next(queue, added); });
  }
}

void Threads::for_each_io(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  std::mutex mutex;
  std::condition_variable all_done;
  std::int64_t done = 0;
  std::exception_ptr first_error;
  std::atomic<bool> failed{false};
  for (std::int64_t i = 0; i < count; ++i) {
    enqueue_io([&, i] {
      std::exception_ptr error;
      try {
        if (!failed) body(i);
      } catch (...) {
        error = std::current_exception();
        failed = true;
      }
      const std::lock_guard lock(mutex);
      if (error != nullptr && first_error == nullptr) first_error = std::move(error);
      if (++done == count) all_done.notify_one();
    });
  }
  std::unique_lock lock(mutex);
  all_done.wait(lock, [&] { return done == count; });
  if (first_error != nullptr) std::rethrow_exception(first_error);
}

}  // namespace trib::pipeline
