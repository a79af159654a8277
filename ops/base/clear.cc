#include "ops/base/clear.h"

#include <cstddef>
#include <cstring>

#include "ops/base/parallel.h"

namespace trib {

void clear(void* memory, std::int64_t bytes) {
  constexpr std::int64_t kGrain = std::int64_t{2} << 20;  // a huge page
  parallel_for(bytes, kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::memset(static_cast<std::byte*>(memory) + begin, 0, static_cast<std::size_t>(end - begin));
  });
}

}  // namespace trib
