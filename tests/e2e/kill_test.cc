// A training that is killed again and again, at any instant, comes to the same end.

#include <cstdlib>
#include <random>

#include "tests/e2e/checkpoint_fixture.h"

namespace trib::test {
namespace {

class Kill : public CheckpointTest {
 protected:
  static int kills() {
    const char* wanted = std::getenv("TRIB_KILLS");
    return wanted == nullptr ? 8 : std::atoi(wanted);
  }

  /// Run on `ranks` and, at a random time within `most_seconds` after the first row of this
  /// attempt, kill one of the ranks, or all. Returns whether the run was killed.
  bool run_and_kill(const std::string& folder, const Arguments& more, int ranks,
                    double most_seconds) {
    using Clock = std::chrono::steady_clock;
    const double wait = std::uniform_real_distribution<>(0, most_seconds)(random_);
    const bool all = std::uniform_int_distribution<>(0, 1)(random_) == 1;
    const auto victim = static_cast<std::size_t>(std::uniform_int_distribution<>(0, 7)(random_));
    const auto lines_before =
        exists(folder + "/metrics.jsonl") ? text(folder + "/metrics.jsonl") : std::string();
    std::optional<Clock::time_point> began;
    bool killed = false;
    ProgramOptions options;
    options.timeout = 120;
    options.watch = [&](pid_t pid) {
      if (killed) return;
      // Some are killed while they start, and find checkpoints and folders half made.
      const bool is_early = victim == 7;
      if (!began && (is_early || (exists(folder + "/metrics.jsonl") &&
                                  text(folder + "/metrics.jsonl") != lines_before))) {
        began = Clock::now();
      }
      if (!began || std::chrono::duration<double>(Clock::now() - *began).count() < wait) return;
      const std::vector<pid_t> pids = children(pid);
      if (pids.empty()) return;
      killed = true;
      for (std::size_t i = 0; i < pids.size(); ++i) {
        if (all || i == victim % pids.size()) kill(pids[i], SIGKILL);
      }
    };
    const ProgramResult result = mpirun(ranks, resume(folder) + more, options);
    EXPECT_TRUE(killed || result.exit_code == 0) << result.err;
    // A run that a kill hit in its very last moment may be complete.
    return killed && result.exit_code != 0;
  }

  std::mt19937 random_{static_cast<std::uint32_t>(kills())};
};

TEST_F(Kill, TheEndIsTheSameBitForBit) {
  const std::string steps = std::to_string(20 * kills());
  const Arguments mesh =
      set({"mesh.shard=2", "train.steps=" + steps, "train.evaluate_every=0", "images.delay=6ms"});
  run("g.yaml", "whole", mesh + set({"checkpoints.every=0"}) + Arguments{"--log-samples"}, 2);
  // Checkpoints are written all the time, so that kills hit every part of writing them.
  int killed = 0, attempts = 0;
  for (; killed < kills() && attempts < 3 * kills(); ++attempts) {
    const std::string every = std::to_string(1 + attempts % 3);
    if (run_and_kill("r", mesh + set({"checkpoints.every=" + every}), 2, 0.9)) ++killed;
  }
  EXPECT_EQ(killed, kills()) << attempts << " attempts";
  run("g.yaml", "r", mesh + Arguments{"--log-samples", "--resume"}, 2);
  expect_same_training("r", "whole", std::stoll(steps));
  EXPECT_EQ(used_positions("r"), used_positions("whole"));
}

TEST_F(Kill, OnAnotherMeshEachTimeItIsTheSameToRounding) {
  const std::string steps = std::to_string(20 * kills());
  const Arguments length =
      set({"train.steps=" + steps, "train.evaluate_every=0", "images.delay=6ms"});
  run("g.yaml", "whole", length);
  const struct {
    int data, shard, tensor;
  } meshes[] = {{2, 1, 1}, {1, 1, 2}, {1, 2, 1}, {1, 1, 3}, {3, 1, 1}, {1, 2, 2}};
  int killed = 0, attempts = 0;
  for (; killed < kills() && attempts < 3 * kills(); ++attempts) {
    const auto& mesh = meshes[static_cast<std::size_t>(attempts) % std::size(meshes)];
    const Arguments sets =
        set({"mesh.data=" + std::to_string(mesh.data), "mesh.shard=" + std::to_string(mesh.shard),
             "mesh.tensor=" + std::to_string(mesh.tensor),
             "checkpoints.every=" + std::to_string(1 + attempts % 3)});
    if (run_and_kill("r", length + sets, mesh.data * mesh.shard * mesh.tensor, 0.9)) ++killed;
  }
  EXPECT_EQ(killed, kills()) << attempts << " attempts";
  run("g.yaml", "r", length + Arguments{"--log-samples", "--resume"}, 1);
  expect_close_training("r", "whole", std::stoll(steps), 1e-3);
  expect_each_sample_once("r", std::stoll(steps), 12);
}

}  // namespace
}  // namespace trib::test
