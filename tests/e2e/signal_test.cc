// SIGINT, SIGTERM and SIGUSR1 end a run in good order.

#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

class Signal : public TribTest {
 protected:
  ProgramOptions after_five_steps(int signal) const {
    ProgramOptions options;
    options.timeout = 60;
    options.signal = signal;
    options.signal_when = [this] { return lines("r/metrics.jsonl").size() > 5; };
    return options;
  }
  void expect_complete_folder() const {
    const auto found = losses("r");
    EXPECT_GE(found.size(), 5U);
    EXPECT_LT(found.size(), 5000U);
    for (const std::string& line : lines("r/metrics.jsonl")) {
      EXPECT_TRUE(nlohmann::json::accept(line)) << line;
    }
    EXPECT_GT(json("r/trace.json").size(), 100U);
    EXPECT_EQ(json("r/summary.json")["training"]["steps"], found.size());
    EXPECT_TRUE(exists("r/checkpoints/step-" + std::to_string(found.size()) + "/index.json"));
  }
  const Arguments long_run_{"run",   "g.yaml",           "--run-dir", "r",
                            "--set", "train.steps=5000", "--set",     "images.delay=2ms"};
};

TEST_F(Signal, InterruptEndsAfterTheStep) {
  write("g.yaml", kMaeGraph);
  EXPECT_EQ(trib(long_run_, after_five_steps(SIGINT)).exit_code, 130);
  expect_complete_folder();
}

TEST_F(Signal, TerminateEndsAfterTheStep) {
  write("g.yaml", kMaeGraph);
  EXPECT_EQ(trib(long_run_, after_five_steps(SIGTERM)).exit_code, 143);
  expect_complete_folder();
}

// A batch system's warning; it may come again while the run ends.
TEST_F(Signal, UserSignalEndsAfterTheStepHoweverOftenItComes) {
  write("g.yaml", kMaeGraph);
  ProgramOptions options = after_five_steps(SIGUSR1);
  options.signals = 1000;
  const ProgramResult result = trib(long_run_, options);
  EXPECT_EQ(result.exit_code, 128 + SIGUSR1) << result.err;
  expect_complete_folder();
}

// mpirun passes the signal on to all ranks and ends with their code.
TEST_F(Signal, RanksEndTogetherAfterAUserSignal) {
  write("g.yaml", kMaeGraph);
  const ProgramResult result =
      mpirun(2, long_run_ + Arguments{"--set", "mesh.data=2"}, after_five_steps(SIGUSR1));
  EXPECT_EQ(result.exit_code, 128 + SIGUSR1) << result.err;
  expect_complete_folder();
}

TEST_F(Signal, RanksEndTogether) {
  write("g.yaml", kMaeGraph);
  // mpirun ends with a code of its own. It passes the signal on, waits a second, and kills what is
  // still alive; here it is told to wait longer, which it then does in any case.
  ProgramOptions options = after_five_steps(SIGTERM);
  options.environment["OMPI_MCA_odls_base_sigkill_timeout"] = "15";
  const ProgramResult result = mpirun(2, long_run_ + Arguments{"--set", "mesh.data=2"}, options);
  EXPECT_NE(result.exit_code, 0);
  expect_complete_folder();
}

TEST_F(Signal, GraphWithoutTrainingEndsEarly) {
  write("g.yaml", R"(nodes:
  images:  {type: read.synthetic, items: 100000, delay: 2ms, size: 8}
  batches: {type: batch, from: images, size: 4}
  end:     {type: write.tensors, from: batches}
)");
  ProgramOptions options;
  options.timeout = 60;
  options.signal = SIGINT;
  options.signal_when = [this] { return exists("r/tensors/end/batch-000010.safetensors"); };
  const ProgramResult result = trib({"run", "g.yaml", "--run-dir", "r"}, options);
  EXPECT_EQ(result.exit_code, 130) << result.err;
  const std::int64_t samples = json("r/summary.json")["samples"];
  EXPECT_GE(samples, 44);
  EXPECT_LT(samples, 100000);
}

}  // namespace
}  // namespace trib::test
