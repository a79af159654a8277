// How tensors, channels and targets are divided, without other ranks.

#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/parallel/division.h"
#include "ops/base/error.h"
#include "ops/base/split.h"
#include "tests/model/model_testing.h"

namespace trib::model {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(BalancedPart, CoversEverythingOnceAndDiffersByOne) {
  for (const std::int64_t count : {0, 1, 3, 7, 84, 500}) {
    for (const std::int64_t parts : {1, 2, 3, 8}) {
      std::int64_t next = 0;
      for (std::int64_t part = 0; part < parts; ++part) {
        const Range range = balanced_part(count, part, parts);
        EXPECT_EQ(range.begin, next);
        EXPECT_GE(range.size(), count / parts);
        EXPECT_LE(range.size(), (count + parts - 1) / parts);
        next = range.end;
      }
      EXPECT_EQ(next, count);
    }
  }
}

TEST(TensorSplit, RangesOfPositions) {
  EXPECT_THAT(ranges_of({}), IsEmpty());
  EXPECT_THAT(ranges_of({2, 3, 4, 7, 9, 10}), ElementsAre(Range{2, 5}, Range{7, 8}, Range{9, 11}));
}

// The elements a rank holds, by their places in the whole, in local order.
std::vector<std::int64_t> places(const Shape& global, const TensorSplit& split) {
  std::vector<std::int64_t> all;
  for_each_run(global, split, [&](std::int64_t local, std::int64_t first, std::int64_t count) {
    EXPECT_EQ(local, std::ssize(all));
    for (std::int64_t i = 0; i < count; ++i) all.push_back(first + i);
  });
  EXPECT_EQ(std::ssize(all), local_shape(global, split).numel());
  return all;
}

TEST(TensorSplit, OfRowsInGroupsAsOfQueriesKeysAndValues) {
  const TensorSplit split{
      .axis = 0, .groups = 3, .own = {{1, 2}}};  // the second of two rows a group
  EXPECT_EQ(local_shape({6, 2}, split), (Shape{3, 2}));
  EXPECT_THAT(places({6, 2}, split), ElementsAre(2, 3, 6, 7, 10, 11));
}

TEST(TensorSplit, OfColumnsInSeveralRanges) {
  const TensorSplit split{.axis = 1, .own = {{0, 1}, {3, 5}}};
  EXPECT_EQ(local_shape({2, 5}, split), (Shape{2, 3}));
  EXPECT_THAT(places({2, 5}, split), ElementsAre(0, 3, 4, 5, 8, 9));
}

TEST(TensorSplit, OfWhatOneRankOwns) {
  EXPECT_THAT(places({2, 2}, TensorSplit::owned(true, {2, 2})), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(places({2, 2}, TensorSplit::owned(false, {2, 2})), IsEmpty());
  EXPECT_THAT(places({2, 2}, TensorSplit{}), ElementsAre(0, 1, 2, 3));
}

TEST(Division, TargetsFollowTheirChannels) {
  const std::vector<std::string> channels{"a", "b", "c", "d"};
  const std::vector<std::string> targets{"x", "d", "a", "y", "z"};
  EXPECT_THAT(own_targets(targets, channels, {"a", "b"}, {.ranks = 2, .rank = 0}),
              ElementsAre(0, 2));
  EXPECT_THAT(own_targets(targets, channels, {"c", "d"}, {.ranks = 2, .rank = 1}),
              ElementsAre(1, 3, 4));
  EXPECT_THAT(
      own_targets(targets, channels, channels, {.ranks = 2, .rank = 1, .distributed = false}),
      ElementsAre(0, 1, 2, 3, 4));
}

// A rank's model without the others: enough to plan with.
std::unique_ptr<Model> planned(const Division& division, bool fused = true) {
  InputSpec input{.channels = {}, .height = 8, .width = 8, .targets = {"c3", "other"}};
  for (int c = 0; c < 84; ++c) input.channels.push_back("c" + std::to_string(c));
  auto model = std::make_unique<Model>(input, division);
  model->add_tokenizer({.patch = 4, .dim = 32});
  model->add_aggregation({.heads = 4, .hierarchy = Hierarchy::dchag, .fused = fused});
  model->add_encoder({.depth = 2, .heads = 4});
  model->add_forecast_head({.depth = 3});
  return model;
}

TEST(DividedModel, PartsMakeTheWholeAndStartAsTheWhole) {
  constexpr int kRanks = 8;
  const auto whole = planned({.partitions = kRanks});
  Parameters values(whole->table(), false);
  values.initialize(5);
  const auto specs = whole->table().specs();
  std::vector<std::vector<float>> found;  // by parameter, from all ranks
  std::vector<std::vector<int>> owners;
  for (const ParameterSpec& spec : specs) {
    found.emplace_back(static_cast<std::size_t>(spec.shape.numel()));
    owners.emplace_back(found.back().size(), 0);
  }
  for (int rank = 0; rank < kRanks; ++rank) {
    const auto part = planned({.ranks = kRanks, .rank = rank, .partitions = kRanks});
    EXPECT_EQ(part->table().count(), whole->table().count());
    Parameters own(part->table(), false);
    own.initialize(5);
    for (ParameterId id = 0; id < std::ssize(specs); ++id) {
      const ParameterSpec& spec = part->table().spec(id);
      ASSERT_EQ(spec.name, whole->table().spec(id).name);
      ASSERT_EQ(spec.shape, whole->table().spec(id).shape);
      if (!spec.split.active() && rank > 0) {
        ASSERT_EQ(std::vector(own.value(id), own.value(id) + spec.shape.numel()),
                  found[static_cast<std::size_t>(id)]);
        continue;
      }
      for_each_run(spec.shape, spec.split,
                   [&](std::int64_t local, std::int64_t global, std::int64_t count) {
                     for (std::int64_t i = 0; i < count; ++i) {
                       const auto at = static_cast<std::size_t>(global + i);
                       found[static_cast<std::size_t>(id)][at] = own.value(id)[local + i];
                       ++owners[static_cast<std::size_t>(id)][at];
                     }
                   });
    }
  }
  for (ParameterId id = 0; id < std::ssize(specs); ++id) {
    const auto i = static_cast<std::size_t>(id);
    EXPECT_THAT(owners[i], testing::Each(1)) << specs[i].name;
    EXPECT_EQ(std::vector(values.value(id), values.value(id) + specs[i].shape.numel()), found[i])
        << specs[i].name;
  }
}

TEST(DividedModel, HoldsItsShareOfParametersAndActivations) {
  const auto whole = planned({.partitions = 4}, /*fused=*/false);
  const auto part = planned({.ranks = 4, .rank = 1, .partitions = 4}, /*fused=*/false);
  EXPECT_LT(part->table().flat_size(), whole->table().flat_size() * 3 / 10);
  // The residual stream and the norms are every rank's.
  EXPECT_LT(part->arena_bytes(2, true), whole->arena_bytes(2, true) * 4 / 10);
  EXPECT_LT(part->flops(2), whole->flops(2) * 3 / 10);
}

TEST(DividedModel, RefusesWhatCannotBeDivided) {
  const auto error_of = [](const Division& division, const AggregationOptions& options) {
    try {
      Model model({.channels = {"a", "b", "c"}, .height = 8, .width = 8}, division);
      model.add_tokenizer({.patch = 4, .dim = 8});
      model.add_aggregation(options);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  using testing::HasSubstr;
  EXPECT_THAT(error_of({.ranks = 4}, {}), HasSubstr("3 channels cannot be divided over 4"));
  EXPECT_THAT(error_of({.ranks = 2, .distributed = false}, {.hierarchy = Hierarchy::dchag}),
              HasSubstr("needs channels: distributed"));
  EXPECT_THAT(error_of({.partitions = 2}, {.hierarchy = Hierarchy::dchag, .tree = 2}),
              HasSubstr("tree 2 makes 2 groups of the 1 channels of a partition"));
  EXPECT_THAT(error_of({}, {.tree = 2}), HasSubstr("needs hierarchy: dchag"));
}

}  // namespace
}  // namespace trib::model
