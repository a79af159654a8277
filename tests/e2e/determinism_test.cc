// The same numbers again: run twice, on other numbers of threads, on other numbers of ranks.

#include <cmath>

#include "io/safetensors.h"
#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

class Determinism : public TribTest {
 protected:
  /// Losses of two runs agree to this relative difference.
  void expect_close(const std::string& folder, const std::string& reference,
                    double tolerance) const {
    const auto found = losses(folder), expected = losses(reference);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double value = std::stod(expected[i]);
      EXPECT_NEAR(std::stod(found[i]), value, tolerance * std::abs(value)) << "step " << i + 1;
    }
  }

  void expect_two_ranks_follow_one(const Arguments& sets, const std::string& statistics) const {
    run("g.yaml", "one", sets);
    run("g.yaml", "two", sets + Arguments{"--set", "mesh.data=2"}, 2);
    ASSERT_EQ(losses("one").size(), 20U);
    expect_close("two", "one", 1e-5);
    EXPECT_EQ(text("one/" + statistics), text("two/" + statistics));
    EXPECT_EQ(json("two/summary.json")["ranks"], 2);
    const auto one = column("one", "eval_loss"), two = column("two", "eval_loss");
    EXPECT_NEAR(std::stod(two.back()), std::stod(one.back()), 1e-5 * std::stod(one.back()));
  }

  std::vector<std::string> batches(const std::string& folder, const Arguments& sets) const {
    run("g.yaml", folder, sets);
    std::vector<std::string> files;
    for (int i = 0; i < 12; ++i) {
      const std::string number = std::to_string(i);
      files.push_back(text(folder + "/tensors/end/batch-" + std::string(6 - number.size(), '0') +
                           number + ".safetensors"));
      EXPECT_GT(files.back().size(), 1000U) << folder << " batch " << i;
    }
    return files;
  }
};

TEST_F(Determinism, TwoRunsHaveTheSameLosses) {
  write("g.yaml", kMaeGraph);
  run("g.yaml", "a");
  run("g.yaml", "b", {"--set", "images.delay=3ms"});
  for (const char* name : {"loss", "grad_norm", "eval_loss", "lr", "epoch"}) {
    EXPECT_EQ(column("a", name), column("b", name)) << name;
  }
  EXPECT_EQ(losses("a").size(), 20U);
  run("g.yaml", "c", {"--set", "seed=4"});
  EXPECT_NE(losses("a"), losses("c"));
}

TEST_F(Determinism, BatchesDoNotDependOnThreads) {
  write("g.yaml", R"(nodes:
  images:  {type: read.synthetic, channels: 3, size: [24, 20], items: 40, delay: 1ms}
  crops:   {type: crop, from: images, size: [8, 8], per_image: 6}
  scaled:  {type: normalize, from: crops}
  batches: {type: batch, from: scaled, size: 16, shuffle: 48}
  end:     {type: write.tensors, from: batches, count: 12}
)");
  const auto one = batches("t1", {"--set", "ingest.threads=1"});
  EXPECT_EQ(batches("t2", {"--set", "ingest.threads=2"}), one);
  EXPECT_EQ(batches("t3", {"--set", "ingest.threads=3"}), one);
  EXPECT_NE(batches("other", {"--set", "seed=1"}), one);
}

TEST_F(Determinism, TwoRanksFollowOneMae) {
  write("g.yaml", kMaeGraph);
  expect_two_ranks_follow_one({}, "statistics/scaled.json");
}

TEST_F(Determinism, TwoRanksFollowOneForecast) {
  write("g.yaml", kForecastGraph);
  expect_two_ranks_follow_one({"--set", "vars.data=" + sample_data()}, "statistics/scaled.json");
}

TEST_F(Determinism, TwoRanksReadTheBatchesOfOne) {
  write("g.yaml", R"(nodes:
  images:  {type: read.synthetic, channels: 2, size: [8, 8], items: 40}
  batches: {type: batch, from: images, size: 8, shuffle: 16}
  end:     {type: write.tensors, from: batches}
)");
  run("g.yaml", "one");
  run("g.yaml", "two", {"--set", "mesh.data=2"}, 2);
  const auto values = [&](const std::string& file) {
    const Tensor x = io::SafetensorsFile(path(file)).read("x_bchw");
    return std::vector<float>(x.data<float>(), x.data<float>() + x.numel());
  };
  for (int i = 0; i < 5; ++i) {
    const std::string batch = "/tensors/end/batch-00000" + std::to_string(i);
    std::vector<float> both = values("two" + batch + ".safetensors");
    const auto second = values("two" + batch + ".rank1.safetensors");
    both.insert(both.end(), second.begin(), second.end());
    EXPECT_EQ(both, values("one" + batch + ".safetensors")) << "batch " << i;
  }
}

}  // namespace
}  // namespace trib::test
