// Position embeddings of another image size, against PyTorch (tests/golden/make_resize_golden.py).

#include "model/resize_position_embedding.h"

#include <ostream>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "tests/model/model_testing.h"

namespace trib::model {
namespace {

struct Resize {
  PositionGrid from, to;
};

void PrintTo(const Resize& resize, std::ostream* out) {
  *out << fmt::format("{}x{} to {}x{}", resize.from.height, resize.from.width, resize.to.height,
                      resize.to.width);
}

class ResizedGrids : public testing::TestWithParam<Resize> {};

TEST_P(ResizedGrids, EqualsPyTorch) {
  const auto& [from, to] = GetParam();
  const io::SafetensorsFile file(std::string(TRIB_SOURCE_DIR) +
                                 "/tests/golden/resize_position_embedding.safetensors");
  const std::string name = fmt::format("{}x{}", from.height, from.width);
  const Tensor embed = file.read(name + ".from");
  const Tensor expected = file.read(fmt::format("{}.to_{}x{}", name, to.height, to.width));
  Tensor resized = Tensor::empty(expected.shape());
  resize_position_embedding(resized.data<float>(), to, embed.data<float>(), from, embed.dim(2));
  for (std::int64_t i = 0; i < expected.numel(); ++i) {
    EXPECT_NEAR(resized.data<float>()[i], expected.data<float>()[i], 2e-6) << "element " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(, ResizedGrids,
                         testing::Values(Resize{{4, 4}, {8, 8}}, Resize{{4, 4}, {3, 3}},
                                         Resize{{4, 4}, {7, 5}}, Resize{{3, 6}, {6, 12}},
                                         Resize{{3, 6}, {2, 4}}, Resize{{1, 1}, {2, 3}}));

TEST(ResizePositionEmbedding, CopiesEqualGrids) {
  const Tensor embed = test::normal_tensor({1, 15, 4}, "embed");
  Tensor resized = Tensor::zeros(embed.shape());
  resize_position_embedding(resized.data<float>(), {3, 5}, embed.data<float>(), {3, 5}, 4);
  for (std::int64_t i = 0; i < embed.numel(); ++i) {
    EXPECT_EQ(resized.data<float>()[i], embed.data<float>()[i]) << "element " << i;
  }
}

}  // namespace
}  // namespace trib::model
