#include "ops/base/parallel.h"

#include <algorithm>
#include <array>
#include <atomic>

#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

namespace trib {
namespace {

constexpr std::int64_t kMaxShares = 64;  // no loop runs on more threads than this

// Pieces dealt out to the slots of an arena in runs: a slot takes those of its own run first, so
// that from loop to loop a thread works on the same part of the memory, and then those that other
// slots have not come to. Taking one costs an atomic increment; TBB's partitioners spawn a task for
// each.
class Shares {
 public:
  Shares(std::int64_t pieces, std::int64_t shares) : pieces_(pieces), shares_(shares) {
    for (std::int64_t s = 0; s < shares_; ++s) {
      taken_[static_cast<std::size_t>(s)].next.store(begin_of(s), std::memory_order_relaxed);
    }
  }

  /// Call piece(i) for all that nobody has taken; for no more once a piece has thrown.
  template <class Piece>
  void work(const Piece& piece) {
    const std::int64_t own = std::max(tbb::this_task_arena::current_thread_index(), 0) % shares_;
    for (std::int64_t s = 0; s < shares_; ++s) {
      const std::int64_t share = (own + s) % shares_, end = begin_of(share + 1);
      std::atomic<std::int64_t>& next = taken_[static_cast<std::size_t>(share)].next;
      while (next.load(std::memory_order_relaxed) < end &&
             !tbb::is_current_task_group_canceling()) {
        const std::int64_t i = next.fetch_add(1, std::memory_order_relaxed);
        if (i < end) piece(i);
      }
    }
  }

 private:
  std::int64_t begin_of(std::int64_t share) const { return share * pieces_ / shares_; }

  struct alignas(64) Taken {
    std::atomic<std::int64_t> next;
  };
  std::int64_t pieces_, shares_;
  std::array<Taken, kMaxShares> taken_;
};

}  // namespace

int parallel_width() {
  return tbb::this_task_arena::max_concurrency();
}

void parallel_for(std::int64_t count, std::int64_t grain,
                  FunctionRef<void(std::int64_t, std::int64_t)> body) {
  if (count <= 0) return;
  const std::int64_t pieces = std::max<std::int64_t>(count / std::max<std::int64_t>(grain, 1), 1);
  const auto piece = [&](std::int64_t i) { body(i * count / pieces, (i + 1) * count / pieces); };
  const std::int64_t width = std::min<std::int64_t>({pieces, parallel_width(), kMaxShares});
  if (width == 1) {
    for (std::int64_t i = 0; i < pieces; ++i) piece(i);
    return;
  }
  Shares shares(pieces, width);
  // Of its own: a loop that returns has called every piece, whatever is cancelled around it.
  tbb::task_group_context context(tbb::task_group_context::isolated);
  tbb::this_task_arena::isolate([&] {
    tbb::parallel_for(
        std::int64_t{0}, width, [&](std::int64_t) { shares.work(piece); },
        tbb::simple_partitioner(), context);
  });
}

}  // namespace trib
