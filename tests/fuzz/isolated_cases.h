// Running cases in child processes, so that one that crashes, hangs or wants all memory does not
// end the test.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace trib::test {

/// How a case ended.
enum class Outcome : std::uint8_t {
  none,     ///< it did not end
  same,     ///< the values of the undamaged file
  refused,  ///< DataError or ConfigError
  changed,  ///< other values, and no error
  wrong,    ///< another error, or one thing said and another done; a note says what
};

struct CaseResult {
  Outcome outcome = Outcome::none;
  bool crashed = false, hung = false;
  std::string note;  ///< of a wrong outcome, or the last words of a process that ended
};

/// Call body(i, note) for 0 <= i < count in a child process, in another one after one that ends
/// early or shows no progress for a minute. The caller must not have threads yet.
std::vector<CaseResult> run_isolated(
    std::uint64_t count, const std::function<Outcome(std::uint64_t, std::string& note)>& body);

}  // namespace trib::test
