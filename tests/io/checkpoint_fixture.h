// Checkpoints of random layouts for tests, and the global tensors they are of.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/checkpoint/checkpoint.h"
#include "io/checkpoint/checkpoint_writer.h"

namespace trib::io {

/// An empty folder of the present test's own.
inline std::string make_folder() {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  const std::string folder =
      testing::TempDir() + "checkpoint." + info->test_suite_name() + "." + info->name();
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

inline std::string load(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void store(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// Replace the one occurrence of a text in a file.
inline void edit(const std::string& path, const std::string& from, const std::string& to) {
  std::string text = load(path);
  const std::size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  store(path, text.replace(at, from.size(), to));
}

inline void flip_bit(const std::string& path, std::int64_t from_end) {
  std::string bytes = load(path);
  bytes[bytes.size() - static_cast<std::size_t>(from_end)] ^= 4;
  store(path, bytes);
}

/// Names in a folder, ascending.
inline std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::int64_t number(std::int64_t first, std::int64_t last) {
    return std::uniform_int_distribution<std::int64_t>(first, last)(engine_);
  }
  template <class T>
  void shuffle(std::vector<T>& items) {
    std::shuffle(items.begin(), items.end(), engine_);
  }

 private:
  std::mt19937 engine_;
};

inline Shape random_shape(Random& random) {
  Shape shape;
  const std::int64_t rank = random.number(0, 4);
  for (int axis = 0; axis < rank; ++axis) shape.push_back(random.number(1, 12));
  return shape;
}

inline std::int64_t random_divisor(Random& random, std::int64_t count) {
  std::int64_t divisor = random.number(1, count);
  while (count % divisor != 0) --divisor;
  return divisor;
}

/// Deal the positions of a group's run out to ranks, in runs of any length.
inline std::vector<TensorSplit> random_splits(Random& random, const Shape& shape,
                                              std::int64_t ranks) {
  if (shape.rank() == 0 || random.number(0, 3) == 0) {
    return std::vector<TensorSplit>(static_cast<std::size_t>(ranks));  // all have all of it
  }
  const int axis = static_cast<int>(random.number(0, shape.rank() - 1));
  const std::int64_t groups = random_divisor(random, shape[axis]);
  std::vector<std::vector<std::int64_t>> positions(static_cast<std::size_t>(ranks));
  std::int64_t owner = 0;
  for (std::int64_t i = 0; i < shape[axis] / groups; ++i) {
    if (random.number(0, 1) == 0) owner = random.number(0, ranks - 1);
    positions[static_cast<std::size_t>(owner)].push_back(i);
  }
  std::vector<TensorSplit> splits;
  for (const auto& own : positions) {
    splits.push_back({.axis = axis, .groups = groups, .own = ranges_of(own)});
  }
  return splits;
}

/// Ascending cuts of 0 .. count into `parts` ranges, some of them empty.
inline std::vector<Range> random_cuts(Random& random, std::int64_t count, std::int64_t parts) {
  std::vector<std::int64_t> cuts{0, count};
  for (std::int64_t i = 1; i < parts; ++i) cuts.push_back(random.number(0, count));
  std::sort(cuts.begin(), cuts.end());
  std::vector<Range> ranges;
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i) ranges.push_back({cuts[i], cuts[i + 1]});
  return ranges;
}

inline std::vector<float> random_elements(Random& random, std::int64_t count) {
  std::vector<float> elements;
  for (std::int64_t i = 0; i < count; ++i) {
    elements.push_back(static_cast<float>(random.number(-1'000'000, 1'000'000)));
  }
  return elements;
}

/// The part of a global tensor, element by element: element (o, i, n) of axes before, along and
/// after the split's is held if i, within its group, is in one of the ranges.
inline std::vector<float> cut(const std::vector<float>& global, const Shape& shape,
                              const TensorSplit& split) {
  if (!split.active()) return global;
  std::int64_t inner = 1;
  for (int axis = split.axis + 1; axis < shape.rank(); ++axis) inner *= shape[axis];
  std::vector<float> part;
  for (std::int64_t i = 0; i < std::ssize(global); ++i) {
    const std::int64_t position = i / inner % shape[split.axis];
    const std::int64_t in_group = position % (shape[split.axis] / split.groups);
    for (const Range& range : split.own) {
      if (in_group >= range.begin && in_group < range.end) {
        part.push_back(global[static_cast<std::size_t>(i)]);
      }
    }
  }
  return part;
}

/// What one rank writes: pieces with elements of their own.
struct OwnedPieces {
  std::vector<PieceData> pieces;
  std::vector<std::vector<float>> elements;

  void add(const std::string& tensor, const std::string& state, const TensorSplit& split,
           const Range& range, const std::vector<float>& part) {
    elements.emplace_back(part.begin() + range.begin, part.begin() + range.end);
    pieces.push_back({tensor, state, split, range, nullptr});
  }
  const std::vector<PieceData>& list() {
    for (std::size_t i = 0; i < pieces.size(); ++i) pieces[i].data = elements[i].data();
    return pieces;
  }
};

/// A small checkpoint of two ranks: "w" [6, 4] split by columns, and "b" [5] on rank 1, cut in two
/// shards. Elements count up from `first`.
inline std::string write_small(const std::string& folder, std::int64_t step, float first = 1,
                               bool commit = true) {
  const CheckpointWriter writer(folder, step);
  std::vector<float> w(24), b(5);
  std::iota(w.begin(), w.end(), first);
  std::iota(b.begin(), b.end(), -first);
  for (int rank = 0; rank < 2; ++rank) {
    OwnedPieces own;
    const TensorSplit split{.axis = 1, .own = {{2 * rank, 2 * rank + 2}}};
    own.add("w", kValueState, split, {0, 12}, cut(w, {6, 4}, split));
    own.add("b", kValueState, {}, rank == 0 ? Range{0, 3} : Range{3, 5}, b);
    writer.write_rank(rank, own.list());
  }
  if (!commit) return folder;
  return writer.commit(2, {{"w", {{6, 4}}}, {"b", {{5}}}}, R"({"epoch": 3})");
}

}  // namespace trib::io
