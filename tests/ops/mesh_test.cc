#include "ops/comm/mesh.h"

#include <vector>

#include <gtest/gtest.h>

#include "ops/base/error.h"

namespace trib::ops {
namespace {

TEST(MeshShape, TensorVariesFastestThenShardThenData) {
  const MeshShape mesh{.data = 2, .shard = 3, .tensor = 4};
  EXPECT_EQ(mesh.size(), 24);
  EXPECT_EQ(mesh.coordinates(0), (MeshCoordinates{0, 0, 0}));
  EXPECT_EQ(mesh.coordinates(3), (MeshCoordinates{0, 0, 3}));
  EXPECT_EQ(mesh.coordinates(4), (MeshCoordinates{0, 1, 0}));
  EXPECT_EQ(mesh.coordinates(23), (MeshCoordinates{1, 2, 3}));
  for (int rank = 0; rank < mesh.size(); ++rank) {
    EXPECT_EQ(mesh.rank(mesh.coordinates(rank)), rank);
  }
}

TEST(MeshShape, GroupsAreTheRanksThatDifferAlongOneAxis) {
  const MeshShape mesh{.data = 2, .shard = 3, .tensor = 4};
  const int rank = mesh.rank({1, 2, 1});
  EXPECT_EQ(mesh.group(MeshAxis::tensor, rank), (std::vector<int>{20, 21, 22, 23}));
  EXPECT_EQ(mesh.group(MeshAxis::shard, rank), (std::vector<int>{13, 17, 21}));
  EXPECT_EQ(mesh.group(MeshAxis::data, rank), (std::vector<int>{9, 21}));
  EXPECT_EQ(mesh.group(MeshAxis::world, rank).size(), 24u);
  EXPECT_EQ(mesh.group(MeshAxis::world, rank).front(), 0);
}

TEST(MeshShape, SamplesAreDataAndShardTogether) {
  EXPECT_EQ(name_of(MeshAxis::samples), "samples");
  for (const MeshShape mesh :
       {MeshShape{.data = 2, .shard = 3, .tensor = 4}, MeshShape{.data = 3, .tensor = 2},
        MeshShape{.shard = 4, .tensor = 2}, MeshShape{.data = 2, .shard = 2},
        MeshShape{.tensor = 5}, MeshShape{}}) {
    SCOPED_TRACE(mesh.to_string());
    EXPECT_EQ(mesh.size(MeshAxis::samples), mesh.size() / mesh.tensor);
    for (int rank = 0; rank < mesh.size(); ++rank) {
      std::vector<int> expected;
      for (int other = 0; other < mesh.size(); ++other) {
        if (mesh.coordinates(other).tensor == mesh.coordinates(rank).tensor) {
          expected.push_back(other);
        }
      }
      EXPECT_EQ(mesh.group(MeshAxis::samples, rank), expected) << "rank " << rank;
    }
  }
}

TEST(MeshShape, MustMatchTheNumberOfRanks) {
  EXPECT_NO_THROW(check_mesh({.data = 2, .tensor = 3}, 6));
  EXPECT_THROW(check_mesh({.data = 2, .tensor = 3}, 5), ConfigError);
  EXPECT_THROW(check_mesh({.data = -1, .tensor = -1}, 1), ConfigError);
}

}  // namespace
}  // namespace trib::ops
