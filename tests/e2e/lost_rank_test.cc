// One rank of several is killed, stopped or interrupted while the others work.

#include <algorithm>
#include <map>
#include <optional>

#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

// Steps of some milliseconds, more of them than any test waits for.
constexpr const char* kLong = R"(seed: 3
nodes:
  images:   {type: read.synthetic, items: 400, channels: 16, size: 32}
  batches:  {type: batch, from: images, size: 16}
  tokens:   {type: model.tokenize, from: batches, patch: 4, dim: 64}
  channels: {type: model.aggregate, from: tokens, heads: 4}
  encoder:  {type: model.encoder, from: channels, depth: 4, heads: 4}
  recon:    {type: model.mae_head, from: encoder, dim: 32, depth: 1, heads: 4}
  train:    {type: train, from: recon, steps: 1000000, lr: 1e-4}
)";

// Reads end, and so may notice a signal, at any time of a step.
constexpr const char* kApply = R"(seed: 5
nodes:
  images:   {type: read.synthetic, items: 1000000, delay: 2ms, channels: 16, targets: 4, size: 16}
  batches:  {type: batch, from: images, size: 8}
  tokens:   {type: model.tokenize, from: batches, patch: 4, dim: 32}
  channels: {type: model.aggregate, from: tokens, heads: 4}
  encoder:  {type: model.encoder, from: channels, depth: 1, heads: 4}
  head:     {type: model.forecast_head, from: encoder, depth: 1}
  write:    {type: write.tensors, from: head}
)";

/// Parent of a process, 0 if it is gone.
pid_t parent_of(pid_t pid) {
  // "pid (name) state parent ..."; the name may hold anything.
  const std::string stat = read_text("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos || name_end + 4 >= stat.size()) return 0;
  return static_cast<pid_t>(std::stol(stat.substr(name_end + 4)));
}

/// The processes that this test's mpirun has started, by rank.
std::map<int, pid_t> ranks_of_this_test() {
  std::map<int, pid_t> ranks;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (!std::all_of(name.begin(), name.end(), [](char c) { return '0' <= c && c <= '9'; })) {
      continue;
    }
    const auto pid = static_cast<pid_t>(std::stol(name));
    if (parent_of(parent_of(pid)) != getpid()) continue;
    const std::string environment = '\0' + read_text("/proc/" + name + "/environ");
    const std::string key = std::string(1, '\0') + "OMPI_COMM_WORLD_RANK=";
    const std::size_t at = environment.find(key);
    if (at == std::string::npos) continue;
    ranks[std::stoi(environment.substr(at + key.size()))] = pid;
  }
  return ranks;
}

class LostRank : public TribTest {
 protected:
  void TearDown() override {
    // mpirun ends its children; one that is stopped must not stay behind if it could not.
    if (victim_ && parent_of(*victim_) != 0 && is_trib(*victim_)) kill(*victim_, SIGKILL);
  }

  static bool is_trib(pid_t pid) {
    return read_text("/proc/" + std::to_string(pid) + "/comm") == "trib\n";
  }

  /// Run on 4 ranks; once `ready`, one rank alone gets a signal.
  ProgramResult run_and_signal(int rank, int signal, std::function<bool()> ready) {
    using Clock = std::chrono::steady_clock;
    Clock::time_point sent;
    ProgramOptions options;
    options.timeout = 60;
    options.signal = SIGTERM;  // to mpirun only if the rank cannot be found
    options.signal_when = [&, ready] {
      if (victim_ || !ready()) return false;
      const auto ranks = ranks_of_this_test();
      EXPECT_EQ(ranks.size(), 4U);
      if (!ranks.contains(rank)) return true;
      victim_ = ranks.at(rank);
      sent = Clock::now();
      EXPECT_EQ(kill(*victim_, signal), 0);
      return false;
    };
    const ProgramResult result =
        mpirun(4, {"run", "g.yaml", "--run-dir", "r", "-q", "--set", "mesh.tensor=4"}, options);
    EXPECT_TRUE(victim_.has_value()) << result.err;
    seconds_ = std::chrono::duration<double>(Clock::now() - sent).count();
    return result;
  }
  std::function<bool()> after_steps() const {
    return [this] { return lines("r/metrics.jsonl").size() > 5; };
  }

  std::optional<pid_t> victim_;
  double seconds_ = 0;  // from the signal to the end of all
};

TEST_F(LostRank, KilledInMidStepEndsAll) {
  write("g.yaml", kLong);
  const ProgramResult result = run_and_signal(2, SIGKILL, after_steps());
  EXPECT_NE(result.exit_code, 0);
  EXPECT_LT(seconds_, 20);
  EXPECT_THAT(result.out + result.err, ContainsRegex("process rank 2 .*exited on signal 9"));
}

TEST_F(LostRank, InterruptedAloneEndsAllInGoodOrder) {
  write("g.yaml", kLong);
  const ProgramResult result = run_and_signal(1, SIGINT, after_steps());
  EXPECT_LT(seconds_, 10);
  EXPECT_THAT(result.err, Not(HasSubstr("error:")));
  EXPECT_EQ(json("r/summary.json")["training"]["steps"], losses("r").size());
}

TEST_F(LostRank, AppliedModelInterruptedOnOneRankEndsAllInGoodOrder) {
  write("g.yaml", kApply);
  const ProgramResult result = run_and_signal(
      3, SIGINT, [this] { return exists("r/tensors/write/step-000010.rank3.safetensors"); });
  EXPECT_LT(seconds_, 10);
  EXPECT_THAT(result.err, Not(HasSubstr("error:")));
  EXPECT_TRUE(exists("r/summary.json"));
  std::map<std::string, int> parts;
  for (const auto& file : std::filesystem::directory_iterator(path("r/tensors/write"))) {
    ++parts[file.path().filename().string().substr(0, 11)];
  }
  EXPECT_LT(parts.size(), 10000U);
  for (const auto& [step, count] : parts) EXPECT_EQ(count, 4) << step;
}

class LostRankSlow : public LostRank {};

// Longer than the silence limit of the communicator: 10 s.
TEST_F(LostRankSlow, StoppedIsNamedByTheOthers) {
  write("g.yaml", kLong);
  const ProgramResult result = run_and_signal(2, SIGSTOP, after_steps());
  EXPECT_EQ(result.exit_code, 5) << result.err;
  EXPECT_LT(seconds_, 35);
  EXPECT_THAT(result.err, ContainsRegex("rank [013]: error: .*rank 2"));
}

}  // namespace
}  // namespace trib::test
