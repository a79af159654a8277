// Loops over the compute threads.
#pragma once

#include <cstdint>

#include "ops/base/function_ref.h"

namespace trib {

/// Call body(begin, end) on pieces that cover [0, count), in parallel in the calling thread's task
/// arena. Pieces hold at least `grain` items (if there are that many) and depend on `count` and
/// `grain` alone, so that results depend neither on timing nor on the number of threads. While it
/// waits, the caller takes no task from outside the loop. Exceptions of the body are rethrown.
void parallel_for(std::int64_t count, std::int64_t grain,
                  FunctionRef<void(std::int64_t begin, std::int64_t end)> body);

/// Threads a parallel_for called here may use.
int parallel_width();

}  // namespace trib
