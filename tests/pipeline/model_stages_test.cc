// Parameters of model stages that are more than a number.
#include <cstddef>
#include <cstdint>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/model.h"
#include "ops/base/error.h"
#include "tests/pipeline/stage_testing.h"

namespace trib::pipeline {
namespace {

using testing::HasSubstr;

// Bytes that a layer keeps and takes in training, in a model of five encoder blocks and as many
// decoder blocks.
std::int64_t bytes_of_layer(std::size_t layer, const std::string& recompute) {
  StreamInfo info = stream_of({"a", "b"}, {.height = 8, .width = 8});
  info.kind = StreamKind::batches;
  info.own_all();
  const std::string blocks = fmt::format("{{depth: 5, heads: 2, recompute: {}}}", recompute);
  info = make_stage<ModelStage>("model.tokenize", "{patch: 2, dim: 16}")->prepare(info);
  info = make_stage<ModelStage>("model.aggregate", "{kind: linear}")->prepare(info);
  info = make_stage<ModelStage>("model.encoder", blocks)->prepare(info);
  info = make_stage<ModelStage>("model.mae_head", blocks)->prepare(info);
  const model::LayerMemory memory = info.model->layers()[layer]->memory(4);
  return memory.saved + memory.backward_scratch;
}

TEST(RecomputeParameter, SetsTheBlocksOfASegment) {
  for (const std::size_t layer : {2, 3}) {
    const std::int64_t kept = bytes_of_layer(layer, "none");
    const std::int64_t block = bytes_of_layer(layer, "block");
    const std::int64_t two = bytes_of_layer(layer, "every 2");
    const std::int64_t three = bytes_of_layer(layer, "every 3");
    EXPECT_EQ(bytes_of_layer(layer, "every 1"), block);
    EXPECT_LT(block, two);
    EXPECT_LT(two, three);
    EXPECT_LT(three, kept);
  }
}

TEST(RecomputeParameter, RefusesAnythingElse) {
  for (const char* stage : {"model.encoder", "model.mae_head"}) {
    for (const char* text : {"'true'", "every", "every 0", "every -1", "every 2 blocks", "every x",
                             "2", "'every  2'", "every 99999999999999999999"}) {
      try {
        make_stage<ModelStage>(stage, fmt::format("{{recompute: {}}}", text));
        ADD_FAILURE() << stage << " took " << text;
      } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(),
                    HasSubstr("recompute: expected none, block or every N (N at least 1), found"));
      }
    }
  }
}

}  // namespace
}  // namespace trib::pipeline
