// Time as a process lives it.
#pragma once

#include <algorithm>
#include <chrono>

namespace trib::ops {

/// A clock that is read all the time and hardly advances while nobody reads it: a process that was
/// stopped for an hour, perhaps together with all others, must not take the hour for theirs.
class AwakeClock {
 public:
  using Time = std::chrono::steady_clock::duration;

  /// Time since the clock was made.
  Time read() {
    constexpr Time kLongestStep = std::chrono::seconds(1);
    const auto now = std::chrono::steady_clock::now();
    elapsed_ += std::min(now - last_, kLongestStep);
    last_ = now;
    return elapsed_;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  Time elapsed_{};
};

}  // namespace trib::ops
