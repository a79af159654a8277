#include "ops/base/parallel.h"

#include <algorithm>

#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

namespace trib {

int parallel_width() {
  return tbb::this_task_arena::max_concurrency();
}

void parallel_for(std::int64_t count, std::int64_t grain,
                  FunctionRef<void(std::int64_t, std::int64_t)> body) {
  if (count <= 0) return;
  const std::int64_t pieces = std::max<std::int64_t>(count / std::max<std::int64_t>(grain, 1), 1);
  const auto piece = [&](std::int64_t i) { body(i * count / pieces, (i + 1) * count / pieces); };
  if (pieces == 1 || parallel_width() == 1) {
    for (std::int64_t i = 0; i < pieces; ++i) piece(i);
    return;
  }
  tbb::this_task_arena::isolate([&] { tbb::parallel_for(std::int64_t{0}, pieces, piece); });
}

}  // namespace trib
