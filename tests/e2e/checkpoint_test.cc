// Checkpoints that a running training writes: when, how many, and what happens if it cannot.

#include <sys/mount.h>

#include "tests/e2e/checkpoint_fixture.h"

namespace trib::test {
namespace {

class Checkpoints : public CheckpointTest {
 protected:
  Arguments start(const std::string& folder, const std::vector<std::string>& sets = {}) const {
    return Arguments{"run", "g.yaml", "--run-dir", folder, "-q"} + set(sets);
  }
};

TEST_F(Checkpoints, NewestOnesStay) {
  run("g.yaml", "r", set({"checkpoints.every=4", "checkpoints.keep=2", "images.delay=6ms"}));
  const auto steps = checkpoint_steps("r");
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0], 40);
  EXPECT_GE(steps[1], 8) << "one of those before; a slow disk makes the run pass some over";
  EXPECT_EQ(std::filesystem::read_symlink(path("r/checkpoints/latest")), "step-40");
  for (const auto& entry : std::filesystem::directory_iterator(path("r/checkpoints"))) {
    EXPECT_EQ(entry.path().extension(), "") << entry.path() << " is left behind";
  }
}

TEST_F(Checkpoints, LastStepHasOneEvenIfNoneWasDue) {
  run("g.yaml", "r", set({"checkpoints.every=0", "train.steps=7"}));
  EXPECT_EQ(checkpoint_steps("r"), std::vector<std::int64_t>{7});
}

TEST_F(Checkpoints, KeepZeroWritesNone) {
  run("g.yaml", "r", set({"checkpoints.keep=0", "train.steps=12"}));
  EXPECT_FALSE(exists("r/checkpoints"));
  EXPECT_EQ(json("r/summary.json")["memory"]["checkpoint"]["peak_bytes"], 0);
}

TEST_F(Checkpoints, ClockMakesThemDue) {
  // Twenty a second of training that lasts longer.
  run("g.yaml", "r",
      set({"checkpoints.every=0", "checkpoints.minutes=0.001", "checkpoints.keep=100",
           "images.delay=8ms"}));
  EXPECT_GE(checkpoint_steps("r").size(), 3U);
}

TEST_F(Checkpoints, BufferHoldsWhatTheRankWrites) {
  run("g.yaml", "r", set({"mesh.data=2"}), 2);
  std::int64_t elements = 0;
  const io::Checkpoint last(checkpoint("r", 40));
  for (const auto& [name, tensor] : last.index().tensors) elements += tensor.shape.numel();
  std::int64_t buffers = 0;
  const auto summary = json("r/summary.json");
  for (const auto& rank : summary["ranks_detail"]) {
    buffers += rank["memory"]["checkpoint"]["peak_bytes"].get<std::int64_t>();
  }
  EXPECT_EQ(buffers, 3 * 4 * elements) << "three states of four bytes, each element once";
}

TEST_F(Checkpoints, IndexTellsWhereTheTrainingStood) {
  run("g.yaml", "r", set({"train.steps=20", "checkpoints.keep=1"}));
  const auto training = json("r/checkpoints/step-20/index.json")["training"];
  EXPECT_EQ(training["step"], 20);
  EXPECT_EQ(training["epoch"], 2) << "8 steps of 12 samples are an epoch";
  EXPECT_EQ(training["seed"], 3);
  EXPECT_EQ(training["mesh"]["data"], 1);
  EXPECT_EQ(training["samples"]["next_positions"], nlohmann::json({240}));
  EXPECT_THAT(training["graph"].get<std::string>(), HasSubstr("steps: 20"));
  EXPECT_EQ(training["schedule"]["steps"], 20);
}

TEST_F(Checkpoints, SignalsWriteOneOfTheStepTheyEnd) {
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) {
    const std::string folder = "r" + std::to_string(signal);
    ProgramOptions options;
    options.signal = signal;
    options.signal_when = [&] { return lines(folder + "/metrics.jsonl").size() > 5; };
    const ProgramResult result =
        trib(start(folder, {"train.steps=5000", "checkpoints.every=0"}), options);
    EXPECT_EQ(result.exit_code, 128 + signal) << result.err;
    const auto found = static_cast<std::int64_t>(losses(folder).size());
    EXPECT_LT(found, 5000);
    EXPECT_EQ(checkpoint_steps(folder), std::vector<std::int64_t>{found});
  }
}

TEST_F(Checkpoints, TrainingGoesOnAfterASignal) {
  run("g.yaml", "whole");
  for (const int signal : {SIGTERM, SIGUSR1}) {
    const std::string folder = "r" + std::to_string(signal);
    EXPECT_EQ(run_until_checkpoint(folder, 10, signal).exit_code, 128 + signal);
    const ProgramResult result = trib(resume(folder));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    expect_same_training(folder, "whole", 40);
  }
}

/// The run's checkpoints lie on a file system of their own, too small for more than some of them.
class FullDisk : public Checkpoints {
 protected:
  void SetUp() override {
    Checkpoints::SetUp();
    std::filesystem::create_directories(path("r/checkpoints"));
  }
  void TearDown() override {
    if (mounted_) umount2(path("r/checkpoints").c_str(), MNT_DETACH);
  }
  bool mount_disk(const char* size) {
    mounted_ = mount("tmpfs", path("r/checkpoints").c_str(), "tmpfs", 0, size) == 0;
    return mounted_;
  }

 private:
  bool mounted_ = false;
};

TEST_F(FullDisk, TrainingGoesOnAndTheLastGoodOneStays) {
  // A checkpoint takes 190 kB, and a new one is complete before an old one goes: the second does
  // not fit. Nor does that of the last step.
  if (!mount_disk("size=240k")) GTEST_SKIP() << "SKIPPED: this machine permits no mount";
  const ProgramResult result = trib(resume("r") + set({"checkpoints.every=5", "images.delay=6ms"}));
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_THAT(result.err, ContainsRegex("warning: the checkpoint of step [0-9]+ could not be "
                                        "written: .*rank-00000.safetensors.*No space left on "
                                        "device.*the training goes on; the last good checkpoint "
                                        "is step 5"));
  EXPECT_THAT(result.err, ContainsRegex("error: .*the checkpoint of step 40, the last of the run, "
                                        "could not be written: .*No space left on device"));
  EXPECT_EQ(losses("r").size(), 40U);
  EXPECT_EQ(checkpoint_steps("r"), std::vector<std::int64_t>{5});
  EXPECT_EQ(io::Checkpoint(checkpoint("r", 5)).verify(), std::vector<std::string>{});
}

TEST_F(FullDisk, AnyRankMayBeTheOneThatFails) {
  if (!mount_disk("size=340k")) GTEST_SKIP() << "SKIPPED: this machine permits no mount";
  const ProgramResult result = mpirun(2, resume("r") + set({"mesh.data=2", "images.delay=6ms"}));
  EXPECT_EQ(result.exit_code, 4) << result.err;
  // On a slow disk the first one that fails may be the last of the run.
  EXPECT_THAT(result.err, ContainsRegex("the checkpoint of step [0-9]+.* could not be written: "
                                        "rank [01]: .*No space left on device"));
  EXPECT_EQ(losses("r").size(), 40U);
  EXPECT_EQ(checkpoint_steps("r"), std::vector<std::int64_t>{5});
}

}  // namespace
}  // namespace trib::test
