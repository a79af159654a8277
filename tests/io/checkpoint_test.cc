#include "io/checkpoint/checkpoint.h"

#include <algorithm>
#include <thread>

#include <gmock/gmock.h>

#include "ops/base/error.h"
#include "ops/base/memory_ledger.h"
#include "tests/io/checkpoint_fixture.h"

namespace trib::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct GlobalTensor {
  std::string name, state;
  Shape shape;
  std::vector<float> elements;
};

/// Compare elements of a part with the naive ones.
void expect_part(const Checkpoint& checkpoint, const GlobalTensor& tensor, const TensorSplit& split,
                 const Range& elements) {
  const std::vector<float> part = cut(tensor.elements, tensor.shape, split);
  std::vector<float> found(static_cast<std::size_t>(elements.size()) + 2, 7.5F);
  checkpoint.read(tensor.name, tensor.state, split, elements, found.data() + 1);
  EXPECT_EQ(found.front(), 7.5F);
  EXPECT_EQ(found.back(), 7.5F);
  EXPECT_TRUE(std::equal(found.begin() + 1, found.end() - 1, part.begin() + elements.begin))
      << tensor.name << " " << tensor.shape.to_string() << " axis " << split.axis << " elements "
      << elements.begin << ".." << elements.end;
}

void test_layouts(unsigned seed, const std::string& folder) {
  Random random(seed);
  std::vector<GlobalTensor> tensors;
  for (int i = 0; i < 4; ++i) {
    const Shape shape = random_shape(random);
    for (const char* state : {kValueState, kExpAvgState}) {
      if (state == kExpAvgState && i == 3) continue;
      tensors.push_back(
          {"tensor." + std::to_string(i), state, shape, random_elements(random, shape.numel())});
    }
  }

  // tensor ranks x shard ranks, as training has them; replicas of parts only in the first.
  const std::int64_t tensor_ranks = random.number(1, 3), shards = random.number(1, 3);
  std::vector<OwnedPieces> ranks(static_cast<std::size_t>(tensor_ranks * shards));
  std::map<std::string, CheckpointTensor> listed;
  for (const GlobalTensor& tensor : tensors) {
    listed[tensor.name] = {tensor.shape};
    const auto splits = random_splits(random, tensor.shape, tensor_ranks);
    const bool only_first = !splits.front().active() && random.number(0, 1) == 0;
    for (std::size_t rank = 0; rank < splits.size(); ++rank) {
      if (only_first && rank > 0) break;
      const std::vector<float> part = cut(tensor.elements, tensor.shape, splits[rank]);
      std::vector<Range> cuts = random_cuts(random, std::ssize(part), shards);
      random.shuffle(cuts);
      for (std::size_t shard = 0; shard < cuts.size(); ++shard) {
        ranks[rank * cuts.size() + shard].add(tensor.name, tensor.state, splits[rank], cuts[shard],
                                              part);
      }
    }
  }
  const CheckpointWriter writer(folder, seed);
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    threads.emplace_back(
        [&, rank] { writer.write_rank(static_cast<int>(rank), ranks[rank].list()); });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string path = writer.commit(static_cast<int>(ranks.size()), listed, "{}");

  const Checkpoint checkpoint(path);
  EXPECT_THAT(checkpoint.verify(), IsEmpty());
  EXPECT_FALSE(checkpoint.contains("tensor.3", kExpAvgState));
  for (const GlobalTensor& tensor : tensors) {
    EXPECT_TRUE(checkpoint.contains(tensor.name, tensor.state));
    const Tensor whole = checkpoint.read_whole(tensor.name, tensor.state);
    EXPECT_EQ(whole.shape(), tensor.shape);
    EXPECT_TRUE(std::equal(tensor.elements.begin(), tensor.elements.end(), whole.data<float>()));
    for (const TensorSplit& split : random_splits(random, tensor.shape, random.number(1, 4))) {
      const std::int64_t count = local_shape(tensor.shape, split).numel();
      expect_part(checkpoint, tensor, split, {0, count});
      for (const Range& elements : random_cuts(random, count, 3)) {
        expect_part(checkpoint, tensor, split, elements);
      }
    }
  }
}

TEST(Checkpoint, IsReadInAnyLayoutWhateverTheLayoutItWasWrittenIn) {
  const std::string folder = make_folder();
  for (unsigned seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    test_layouts(seed, folder);
    if (HasFailure()) break;
  }
}

TEST(Checkpoint, TellsWhatItHolds) {
  const Checkpoint checkpoint(write_small(make_folder(), 12));
  EXPECT_THAT(checkpoint.path(), HasSubstr("/step-12"));
  EXPECT_EQ(checkpoint.index().step, 12);
  EXPECT_EQ(checkpoint.index().training, R"({"epoch":3})");
  EXPECT_EQ(checkpoint.index().tensors.at("w").shape, Shape({6, 4}));
  EXPECT_EQ(checkpoint.index().pieces.size(), 4U);
  EXPECT_TRUE(checkpoint.contains("w", kValueState));
  EXPECT_FALSE(checkpoint.contains("w", kExpAvgState));
  EXPECT_FALSE(checkpoint.contains("v", kValueState));
}

/// A file that is not needed may even be gone once the checkpoint is open.
TEST(Checkpoint, ReadsNoPieceThatIsNotNeeded) {
  const std::string path = write_small(make_folder(), 1);
  const Checkpoint checkpoint(path);
  flip_bit(path + "/rank-00001.safetensors", 1);          // the end of "b" or of its part of "w"
  flip_bit(path + "/rank-00001.safetensors", 4 * 5 + 1);  // and the other
  std::vector<float> found(12);
  checkpoint.read("w", kValueState, {.axis = 1, .own = {{0, 1}}}, {0, 6}, found.data());
  EXPECT_THAT(std::vector<float>(found.begin(), found.begin() + 6),
              ElementsAre(1, 5, 9, 13, 17, 21));
  checkpoint.read("b", kValueState, {}, {0, 3}, found.data());
  EXPECT_THAT(std::vector<float>(found.begin(), found.begin() + 3), ElementsAre(-1, 0, 1));
  EXPECT_THROW(checkpoint.read("b", kValueState, {}, {2, 4}, found.data()), DataError);
  EXPECT_THROW(checkpoint.read("w", kValueState, {}, {2, 3}, found.data()), DataError);
  checkpoint.read("w", kValueState, {}, {0, 2}, found.data());
}

/// The message of reading.
std::string message(const Checkpoint& checkpoint, const std::string& tensor,
                    const std::string& state, const TensorSplit& split, const Range& elements) {
  std::vector<float> found(100);
  try {
    checkpoint.read(tensor, state, split, elements, found.data());
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(Checkpoint, RefusesToReadWhatItDoesNotHold) {
  const Checkpoint checkpoint(write_small(make_folder(), 1));
  const auto read = [&](const std::string& tensor, const TensorSplit& split,
                        const Range& elements) {
    return message(checkpoint, tensor, kValueState, split, elements);
  };
  EXPECT_THAT(read("v", {}, {0, 1}), HasSubstr("tensor 'v' (value): is not in the checkpoint"));
  EXPECT_THAT(message(checkpoint, "w", kExpAvgState, {}, {0, 1}),
              HasSubstr("step-1: tensor 'w' (exp_avg): is not in the checkpoint"));
  EXPECT_THAT(read("w", {}, {0, 25}),
              HasSubstr("tensor 'w' (value): elements 0..25 of a part of 24 cannot be read"));
  EXPECT_THAT(read("w", {}, {-1, 2}), HasSubstr("elements -1..2 of a part of 24"));
  EXPECT_THAT(read("w", {.axis = 2}, {0, 0}), HasSubstr("split along axis 2 of shape [6, 4]"));
  EXPECT_THAT(read("w", {.axis = 0, .groups = 4, .own = {{0, 1}}}, {0, 0}),
              HasSubstr("split of 4 groups along axis 0 of shape [6, 4]"));
  EXPECT_THAT(read("w", {.axis = 0, .groups = 2, .own = {{2, 4}}}, {0, 0}),
              HasSubstr("split into 2..4, expected ascending ranges within 0..3"));
  EXPECT_EQ(read("w", {}, {24, 24}), "");
  EXPECT_THROW(checkpoint.read_whole("v", kValueState), DataError);
}

TEST(Checkpoint, ListsCheckpointsNewestFirst) {
  const std::string folder = make_folder();
  for (const char* name :
       {"step-9", "step-10", "step-100", "step-11.tmp", "step-12.removed", "step-13.damaged",
        "step-", "step--3", "step-1x", "astep-4", "step-99999999999999999999"}) {
    std::filesystem::create_directory(folder + "/" + name);
  }
  store(folder + "/step-50", "no folder");
  std::filesystem::create_symlink("step-9", folder + "/latest");
  EXPECT_THAT(list_checkpoints(folder),
              ElementsAre(folder + "/step-100", folder + "/step-10", folder + "/step-9"));
  EXPECT_THAT(list_checkpoints(folder + "/nowhere"), IsEmpty());
}

TEST(Checkpoint, IsReadWithoutTheMemoryOfItsWriter) {
  const Checkpoint checkpoint(write_small(make_folder(), 1));
  memory_ledger::reset_peaks();
  const auto writer = memory_ledger::use(MemoryKind::checkpoint);
  const auto workspace = memory_ledger::use(MemoryKind::workspace);
  EXPECT_TRUE(checkpoint.verify().empty());
  std::vector<float> some(3);
  checkpoint.read("w", kValueState, {}, {1, 4}, some.data());  // parts of pieces
  EXPECT_EQ(memory_ledger::use(MemoryKind::checkpoint).peak, writer.peak);
  EXPECT_GT(memory_ledger::use(MemoryKind::workspace).peak, workspace.peak);
}

}  // namespace
}  // namespace trib::io
