// However slow the end of a graph is, what is under way stays bounded.

#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

class Memory : public TribTest {};

TEST_F(Memory, SlowSinkLeavesTheResidentSetFlat) {
#ifdef TRIB_SANITIZED_PROGRAM
  GTEST_SKIP() << "sanitizers keep freed memory for a while";
#endif
  constexpr std::int64_t kBudget = 4'000'000;
  write("g.yaml", R"(ingest: {items: 64, bytes: 4MB}
nodes:
  images:  {type: read.synthetic, channels: 4, size: 32}
  scaled:  {type: normalize, from: images, samples: 64}
  batches: {type: batch, from: scaled, size: 8, shuffle: 32}
  end:     {type: sink, from: batches, delay: 1ms}
)");
  std::int64_t peak[2];
  const std::int64_t items[2] = {2'000, 20'000};
  for (int i = 0; i < 2; ++i) {
    const std::string folder = "n" + std::to_string(items[i]);
    // The trace, which keeps its events until the end, would be most of the growth.
    run("g.yaml", folder, {"--no-trace", "--set", "images.items=" + std::to_string(items[i])});
    const auto summary = json(folder + "/summary.json");
    EXPECT_EQ(summary["samples"], items[i]);
    EXPECT_LE(summary["ingest"]["peak_samples"], 64);
    EXPECT_GE(summary["ingest"]["peak_samples"], 40) << "the sink should be what is waited for";
    EXPECT_LE(summary["ingest"]["peak_bytes"], kBudget);
    EXPECT_LE(summary["memory"]["ingest"]["peak_bytes"], kBudget);
    EXPECT_GT(summary["memory"]["ingest"]["peak_bytes"], 40 * 4 * 32 * 32 * 4);
    peak[i] = summary["peak_rss_bytes"];
  }
  EXPECT_LT(peak[1] - peak[0], 10'000'000) << peak[0] << " to " << peak[1];
}

TEST_F(Memory, PredictionsHoldWhileTraining) {
  write("g.yaml", kMaeGraph);
  for (const char* reading : {"images.delay=0s", "images.delay=4ms"}) {
    const std::string folder = reading;
    run("g.yaml", folder, {"--set", reading, "--set", "batches.shuffle=64"});
    const auto memory = json(folder + "/summary.json")["memory"];
    for (const char* kind : {"parameters", "gradients", "optimizer", "activations"}) {
      EXPECT_EQ(memory[kind]["peak_bytes"], memory[kind]["predicted_bytes"]) << kind;
      EXPECT_GT(memory[kind]["peak_bytes"], 0) << kind;
    }
    EXPECT_LE(memory["ingest"]["peak_bytes"], memory["ingest"]["predicted_bytes"]);
    EXPECT_GT(memory["ingest"]["peak_bytes"], 0);
  }
}

TEST_F(Memory, PredictionsHoldForAForecast) {
  write("g.yaml", kForecastGraph);
  run("g.yaml", "r", {"--set", "vars.data=" + sample_data()});
  const auto memory = json("r/summary.json")["memory"];
  for (const char* kind : {"parameters", "gradients", "optimizer", "activations"}) {
    EXPECT_EQ(memory[kind]["peak_bytes"], memory[kind]["predicted_bytes"]) << kind;
  }
  EXPECT_LE(memory["ingest"]["peak_bytes"], memory["ingest"]["predicted_bytes"]);
}

}  // namespace
}  // namespace trib::test
