// Where a training stood, as text and back; what is said of text that is no such thing; what
// changed between two graphs.

#include "pipeline/checkpoint/training_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"
#include "pipeline/checkpoint/resume.h"

namespace trib::pipeline {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

TrainingState example() {
  TrainingState state;
  state.step = 120;
  state.epoch = 4;
  state.seconds = 12.75;
  state.seed = 18446744073709551615U;
  state.mesh = {2, 1, 3};
  state.stream = 0x0123456789abcdefU;
  state.consumed.batch_size = 8;
  state.consumed.ranks = 2;
  state.consumed.next_positions = {956, 964};
  state.consumed.earlier = {{.batch_size = 8, .ranks = 1, .next_positions = {400}}};
  state.next_lr = 1.0 / 3;
  state.schedule.lr = 1e-3;
  state.schedule.steps = 500;
  state.schedule.warmup_steps = 20;
  state.graph = "name: \"a\"\n";
  state.program = "1.2.3";
  return state;
}

std::string error_of(const json& state) {
  try {
    TrainingState::from_json(state.dump(), "r/step-120");
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(TrainingStateTest, ReadsBackWhatItWrites) {
  const TrainingState state = example();
  const TrainingState read = TrainingState::from_json(state.to_json(), "x");
  EXPECT_EQ(read.step, 120);
  EXPECT_EQ(read.epoch, 4);
  EXPECT_EQ(read.seconds, 12.75);
  EXPECT_EQ(read.seed, state.seed);
  EXPECT_EQ(read.mesh, state.mesh);
  EXPECT_EQ(read.stream, state.stream);
  EXPECT_EQ(read.consumed.next_positions, state.consumed.next_positions);
  EXPECT_EQ(read.consumed.earlier.at(0).next_positions, std::vector<std::uint64_t>{400});
  EXPECT_EQ(read.next_lr, 1.0 / 3);
  EXPECT_EQ(read.schedule.steps, 500);
  EXPECT_EQ(read.graph, state.graph);
  EXPECT_EQ(read.to_json(), state.to_json());
}

TEST(TrainingStateTest, NamesWhatIsWrong) {
  const json good = json::parse(example().to_json());
  EXPECT_EQ(error_of(good), "");
  for (const auto& [key, value] : good.items()) {
    json bad = good;
    bad.erase(key);
    EXPECT_EQ(error_of(bad), "r/step-120: training state: key '" + key + "' is missing");
  }
  json bad = good;
  bad["colour"] = "red";
  EXPECT_THAT(error_of(bad), HasSubstr("key 'colour' is unknown"));
  bad = good;
  bad["step"] = -1;
  EXPECT_THAT(error_of(bad), HasSubstr("key 'step' is -1; expected a whole number of at least 0"));
  bad = good;
  bad["step"] = 9223372036854775808U;
  EXPECT_THAT(error_of(bad),
              HasSubstr("key 'step' is 9223372036854775808; expected a whole number below 2^63"));
  bad["step"] = 9223372036854775807;
  EXPECT_EQ(error_of(bad), "");
  bad = good;
  bad["samples"]["next_positions"] = {1, 2, 3};
  EXPECT_THAT(error_of(bad), HasSubstr("key 'samples' cannot be"));
  bad = good;
  bad["mesh"].erase("shard");
  EXPECT_THAT(error_of(bad), HasSubstr("key 'mesh.shard' is missing"));
  bad = good;
  bad["stream"] = "xyz";
  EXPECT_THAT(error_of(bad), HasSubstr("key 'stream' is \"xyz\"; expected hexadecimal digits"));
  EXPECT_THAT(error_of(json::object()), HasSubstr("is missing"));
  EXPECT_THROW(TrainingState::from_json("{", "x"), DataError);
}

TEST(ChangedValues, AreNamedWithBothValues) {
  const std::string before =
      "seed: 1\nmesh:\n  data: 2\nnodes:\n  a:\n    size: [1, 2]\n    x: 3\n";
  const std::string after = "seed: 1\nmesh:\n  data: 4\nnodes:\n  a:\n    size: [1, 3]\n    y: 3\n";
  EXPECT_THAT(changed_values(before, after),
              ElementsAre("a.size: [1, 2] -> [1, 3]", "a.x: 3 -> none", "a.y: none -> 3",
                          "mesh.data: 2 -> 4"));
  EXPECT_TRUE(changed_values(before, before).empty());
}

}  // namespace
}  // namespace trib::pipeline
