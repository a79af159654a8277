// Whom the other ranks name when one of them is stopped, lost, hangs or leaves.
#include <chrono>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/run_program.h"

namespace trib::test {
namespace {

using std::chrono::milliseconds;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

constexpr milliseconds kDefaultSilence{10'000}, kDefaultTimeout{300'000};

/// Four ranks of which rank 2 misbehaves in this way.
ProgramResult run_ranks(const std::string& mode, milliseconds silence, milliseconds timeout) {
  return run_program({TRIB_MPIEXEC, "--allow-run-as-root", "--oversubscribe", "--bind-to", "none",
                      "-n", "4", TRIB_WATCHDOG_PROGRAM, mode, std::to_string(silence.count()),
                      std::to_string(timeout.count())});
}

/// How long the operation was pending that the first complaint is about. The time of the whole run
/// says less: under a sanitizer it takes seconds to start.
double pending_seconds(const ProgramResult& result) {
  const std::string words = "pending for ";
  const std::size_t at = result.err.find(words);
  return at == std::string::npos ? -1 : std::stod(result.err.substr(at + words.size()));
}

TEST(Watchdog, NamesAStoppedRankLongBeforeTheTimeout) {
  const ProgramResult result = run_ranks("stop", kDefaultSilence, kDefaultTimeout);
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_GT(pending_seconds(result), 10);
  EXPECT_LT(pending_seconds(result), 15);
  // The call may be over when the signal comes; then it is the next that hangs.
  EXPECT_THAT(result.err, ContainsRegex("rank [03]: all_reduce number 2[01] on axis [a-z]+ .*is "
                                        "waiting for rank 2 .[a-z]+ [01].*, which does not "
                                        "answer"));
}

TEST(Watchdog, NamesARankThatIsStoppedAtItsEnd) {
  const ProgramResult result = run_ranks("stop at end", milliseconds(2000), kDefaultTimeout);
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_FALSE(result.timed_out);
  EXPECT_THAT(result.err, ContainsRegex("rank [013]: has ended and waits for rank 2, which does "
                                        "not answer"));
}

TEST(Watchdog, KilledRankEndsTheRun) {
  const ProgramResult result = run_ranks("kill", kDefaultSilence, kDefaultTimeout);
  EXPECT_NE(result.exit_code, 0);
  EXPECT_LT(result.seconds, 20);
  EXPECT_THAT(result.out + result.err, ContainsRegex("rank 2( |,)"));
}

TEST(Watchdog, NamesARankThatHangsWhenTheTimeoutIsOver) {
  const ProgramResult result = run_ranks("hang", kDefaultSilence, milliseconds(4000));
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_GE(pending_seconds(result), 4);
  EXPECT_LT(pending_seconds(result), 6);
  EXPECT_THAT(result.err, ContainsRegex("rank [03]: all_reduce number 20 on axis [a-z]+ .*is "
                                        "waiting for rank 2 .[a-z]+ [01].*, which has not called "
                                        "it .its last call on this axis is all_reduce number 19, "
                                        "finished"));
}

TEST(Watchdog, NamesARankThatDoesNotJoinTheSplit) {
  const ProgramResult result = run_ranks("no split", kDefaultSilence, milliseconds(4000));
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_LT(pending_seconds(result), 6);
  EXPECT_THAT(result.err, ContainsRegex("rank [013]: barrier number 0 on axis world .*is waiting "
                                        "for rank 2, which has not called it .it has called "
                                        "nothing on this axis"));
}

TEST(Watchdog, NamesARankThatHasLeft) {
  const ProgramResult result = run_ranks("leave", milliseconds(4000), kDefaultTimeout);
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_LT(pending_seconds(result), 6);
  EXPECT_THAT(result.err, ContainsRegex("rank [03]: all_reduce number 20 .*is waiting for rank 2 "
                                        ".*which has ended without calling it"));
}

TEST(Watchdog, NamesARankThatCallsSomethingElse) {
  const ProgramResult result = run_ranks("roots", milliseconds(4000), kDefaultTimeout);
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_LT(pending_seconds(result), 6);
  EXPECT_THAT(result.err, ContainsRegex("rank [23]: broadcast number 20 on axis tensor .4 x 1 "
                                        "bytes, root [01]. is waiting for rank [23] .*, which "
                                        "calls broadcast number 20 .*root [01]. instead"));
}

TEST(Watchdog, DoesNotBlameARankThatIsSlow) {
  const ProgramResult result = run_ranks("slow", milliseconds(2000), kDefaultTimeout);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_GT(result.seconds, 6);
  EXPECT_THAT(result.err, Not(HasSubstr("waiting")));
}

}  // namespace
}  // namespace trib::test
