// Several ranks: what happens to all when one fails, and what they refuse together.

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

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

// With parameters in shards every rank must take part in each pass, also one with fewer samples.
TEST_F(MpiRun, EvaluatesWhereARankLacksASample) {
  const Arguments sets{"run",   "g.yaml",
                       "--set", "mesh.shard=2",
                       "--set", "train.accumulate=4",
                       "--set", "images.fail_at=98",
                       "--set", "images.on_error=skip"};
  ProgramOptions options;
  options.timeout = 60;
  const ProgramResult result = mpirun(2, sets + Arguments{"--run-dir", "r"}, options);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(lines("r/skipped.jsonl").size(), 1U);
  const ProgramResult one =
      trib(sets + Arguments{"--set", "mesh.shard=1", "--run-dir", "one"}, options);
  ASSERT_EQ(one.exit_code, 0) << one.err;
  const double expected = std::stod(column("one", "eval_loss").back());
  EXPECT_NEAR(std::stod(column("r", "eval_loss").back()), expected, 1e-5 * expected);
}

TEST_F(MpiRun, TraceHoldsAllRanks) {
  const ProgramResult result = mpirun(2, run_r_ + Arguments{"--set", "train.steps=5"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  bool waited[2] = {false, false};
  for (const auto& event : json("r/trace.json")) {
    if (event["name"] == "wait for gradients") waited[event["pid"].get<int>()] = true;
  }
  EXPECT_TRUE(waited[0]);
  EXPECT_TRUE(waited[1]);
  EXPECT_FALSE(exists("r/trace.rank1.part"));
  const auto traffic = json("r/summary.json")["traffic"];
  std::int64_t calls = 0;
  for (const auto& [name, one] : traffic.items()) {
    if (name.starts_with("all_reduce.samples.")) calls += one["calls"].get<std::int64_t>();
  }
  EXPECT_GT(calls, 5) << traffic;
}

// What the trace tells of collectives is what the ledger counted, and no track overlaps itself.
TEST_F(MpiRun, TraceHoldsTheCollectives) {
  const ProgramResult result = mpirun(2, run_r_ + Arguments{"--set", "train.steps=5"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto trace = json("r/trace.json"), summary = json("r/summary.json");
  using Track = std::pair<int, int>;  // rank and thread
  const auto track_of = [](const nlohmann::json& event) {
    return Track(event["pid"].get<int>(), event["tid"].get<int>());
  };
  std::map<Track, std::string> names;
  for (const auto& event : trace) {
    if (event["name"] == "thread_name") {
      names[track_of(event)] = event["args"]["name"].get<std::string>();
    }
  }
  std::map<Track, std::vector<std::pair<double, double>>> intervals;
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> traffic;  // of rank 0
  std::array<int, 2> gradient_sums{};
  for (const auto& event : trace) {
    if (event.value("cat", "") != "collective") continue;
    const Track track = track_of(event);
    EXPECT_THAT(names[track], testing::StartsWith("communication"));
    const double begin = event["ts"], duration = event["dur"];
    EXPECT_GE(begin, 0);
    EXPECT_GE(duration, 0);
    intervals[track].emplace_back(begin, begin + duration);
    std::string name = event["name"];
    const std::string phase = event["args"]["phase"];
    if (name.starts_with("all_reduce ") && phase == "backward") {
      ++gradient_sums[event["pid"].get<std::size_t>()];
    }
    if (track.first != 0 || phase == "setup") continue;
    std::replace(name.begin(), name.end(), ' ', '.');
    auto& [calls, bytes] = traffic[name + "." + phase];
    ++calls;
    bytes += event["args"]["bytes"].get<std::int64_t>();
  }
  // Five units: the stem, a block, the norm, a block of the decoder, its norm.
  EXPECT_EQ(gradient_sums, (std::array<int, 2>{25, 25})) << "one all_reduce a unit and step";
  for (auto& [track, of_track] : intervals) {
    std::sort(of_track.begin(), of_track.end());
    for (std::size_t i = 1; i < of_track.size(); ++i) {
      EXPECT_LE(of_track[i - 1].second, of_track[i].first + 1e-3) << "track " << track.second;
    }
  }
  std::size_t counted = 0;
  for (const auto& [key, total] : summary["traffic"].items()) {
    if (key.ends_with(".setup")) continue;
    ++counted;
    EXPECT_EQ(traffic[key].first, total["calls"]) << key;
    EXPECT_EQ(traffic[key].second, total["bytes"]) << key;
  }
  EXPECT_EQ(traffic.size(), counted);
  EXPECT_GT(counted, 0U);

  const ProgramResult without =
      mpirun(2, run_ + Arguments{"--run-dir", "n", "--no-trace", "--set", "train.steps=5"});
  ASSERT_EQ(without.exit_code, 0) << without.err;
  EXPECT_FALSE(exists("n/trace.json"));
  EXPECT_EQ(losses("n"), losses("r"));
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
