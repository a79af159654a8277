// Memory set to zero.
#pragma once

#include <cstdint>

namespace trib {

/// Set `bytes` bytes to zero, on several threads where they are many.
void clear(void* memory, std::int64_t bytes);

}  // namespace trib
