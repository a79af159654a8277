// Several ranks: what happens to all when one fails, and what they refuse together.

#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

class MpiRun : public TribTest {
 protected:
  void SetUp() override { write("g.yaml", kMaeGraph); }

  const Arguments run_{"run",   "g.yaml",          "--set", "mesh.data=2",
                       "--set", "train.steps=200", "--set", "train.evaluate_every=0",
                       "--set", "images.items=400"};
  const Arguments run_r_ = run_ + Arguments{"--run-dir", "r"};
};

TEST_F(MpiRun, FailingReaderEndsAllRanks) {
  for (const char* image : {"61", "62", "64"}) {
    ProgramOptions options;
    options.timeout = 20;
    const ProgramResult result =
        mpirun(2, run_ + Arguments{"--set", std::string("images.fail_at=") + image}, options);
    EXPECT_EQ(result.exit_code, 3) << result.err;
    EXPECT_THAT(result.err,
                ContainsRegex("rank [01]: error: node 'images' \\(synthetic image " +
                              std::string(image) + "\\): synthetic image " + image + " is broken"));
  }
}

TEST_F(MpiRun, SkippingReaderCompletes) {
  const ProgramResult result =
      mpirun(2, run_r_ + Arguments{"--set", "images.fail_at=61", "--set", "images.on_error=skip"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(losses("r").size(), 200U);
  const auto skipped = lines("r/skipped.jsonl");
  EXPECT_GE(skipped.size(), 1U);
  for (const std::string& line : skipped) {
    const auto one = nlohmann::json::parse(line);
    EXPECT_EQ(one["node"], "images");
    EXPECT_EQ(one["item"], "synthetic image 61");
    EXPECT_EQ(one["error"], "synthetic image 61 is broken");
  }
}

TEST_F(MpiRun, TraceHoldsAllRanks) {
  const ProgramResult result = mpirun(2, run_r_ + Arguments{"--set", "train.steps=5"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  bool reduced[2] = {false, false};
  for (const auto& event : json("r/trace.json")) {
    if (event["name"] == "reduce gradients") reduced[event["pid"].get<int>()] = true;
  }
  EXPECT_TRUE(reduced[0]);
  EXPECT_TRUE(reduced[1]);
  EXPECT_FALSE(exists("r/trace.rank1.part"));
  const auto traffic = json("r/summary.json")["traffic"];
  std::int64_t calls = 0;
  for (const auto& [name, one] : traffic.items()) {
    if (name.starts_with("all_reduce.data.")) calls += one["calls"].get<std::int64_t>();
  }
  EXPECT_GT(calls, 5) << traffic;
}

TEST_F(MpiRun, OneRankSaysWhatAllRefuse) {
  const ProgramResult misspelt = mpirun(2, run_r_ + Arguments{"--set", "batches.sise=4"});
  EXPECT_EQ(misspelt.exit_code, 2);
  EXPECT_THAT(misspelt.err, HasSubstr("rank 0: error: --set batches.sise=4: node 'batches': "
                                      "parameter 'sise' is unknown; did you mean 'size'?"));
  EXPECT_THAT(misspelt.err, Not(HasSubstr("rank 1: error")));
  EXPECT_FALSE(exists("r"));

  const ProgramResult odd = mpirun(2, run_ + Arguments{"--set", "batches.size=7"});
  EXPECT_EQ(odd.exit_code, 2);
  EXPECT_THAT(odd.err, HasSubstr("size 7 cannot be split evenly over 2 ranks"));
}

TEST_F(MpiRun, MeshMustFitTheRanks) {
  const ProgramResult few = trib(run_);
  EXPECT_EQ(few.exit_code, 2);
  EXPECT_THAT(few.err, HasSubstr("mesh: data 2 x shard 1 x tensor 1 needs 2 ranks, the program "
                                 "runs on 1"));
  const ProgramResult many = mpirun(2, {"run", "g.yaml"});
  EXPECT_EQ(many.exit_code, 2);
  EXPECT_THAT(many.err, HasSubstr("needs 1 ranks, the program runs on 2"));
}

}  // namespace
}  // namespace trib::test
