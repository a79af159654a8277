// Counts what a test program allocates. Link allocation_count.cc to the program.
#pragma once

#include <cstdint>

namespace trib::test {

/// Calls of operator new in this process so far, all threads together.
std::int64_t allocation_count();

}  // namespace trib::test
