#include "pipeline/engine/threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>

#include <fmt/format.h>
#include <sched.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>
#include <unistd.h>

#include "ops/base/error.h"
#include "pipeline/engine/numa.h"

namespace trib::pipeline {
namespace {

constexpr int kMaxThreads = 64;  // memory regions of Debian's OpenBLAS

}  // namespace

int default_compute_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int allowed = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  const int online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  const char* local_size = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  const int ranks = local_size != nullptr ? std::max(std::atoi(local_size), 1) : 1;
  const bool bound = allowed < online;
  return std::clamp(bound ? allowed : allowed / ranks, 1, kMaxThreads / 2);
}

struct Threads::Arenas {
  Arenas(int compute, int io)
      : limit(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(compute + io)),
        compute_arena(compute, 1),
        io_arena(io, 0),
        io_binding(io_arena) {}
  tbb::global_control limit;  // TBB alone would not start more threads than cores
  tbb::task_arena compute_arena;
  tbb::task_arena io_arena;
  NodeBinding io_binding;
};

Threads::Threads(int compute, int io) : compute_(compute), io_(io) {
  if (compute < 1 || io < 1 || compute + io > kMaxThreads) {
    throw ConfigError(
        fmt::format("{} compute and {} I/O threads: at least 1 each and at most {} "
                    "together",
                    compute, io, kMaxThreads));
  }
  arenas_ = std::make_unique<Arenas>(compute, io);
}

Threads::~Threads() = default;

void Threads::compute_and_wait(const std::function<void()>& body) {
  arenas_->compute_arena.execute(body);
}

void Threads::enqueue_io(std::function<void()> body) {
  arenas_->io_arena.enqueue(std::move(body));
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
      if (error != nullptr && first_error == nullptr) first_error = error;
      if (++done == count) all_done.notify_one();
    });
  }
  std::unique_lock lock(mutex);
  all_done.wait(lock, [&] { return done == count; });
  if (first_error != nullptr) std::rethrow_exception(first_error);
}

}  // namespace trib::pipeline
