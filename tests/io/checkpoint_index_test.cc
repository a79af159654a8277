#include "io/checkpoint/checkpoint_index.h"

#include <cstdio>

#include <gmock/gmock.h>
#include <xxhash.h>

#include "ops/base/error.h"
#include "tests/io/checkpoint_fixture.h"

namespace trib::io {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// An index with one tensor "w" and pieces as JSON.
std::string index_text(const std::string& shape, const std::string& pieces,
                       const std::string& rest = R"("training": {})") {
  return R"({"format": "tributary-checkpoint", "version": 1, "step": 3, "tensors": {"w": {"shape": )" +
         shape + R"(, "dtype": "F32"}}, "pieces": [)" + pieces + "], " + rest + "}";
}

/// The same text with the checksum that an index ends with.
std::string with_checksum(std::string text) {
  text.back() = ',';
  text += '\n';
  char line[32];
  std::snprintf(line, sizeof line, "\"xxh3\": \"%016llx\"\n}\n",
                static_cast<unsigned long long>(XXH3_64bits(text.data(), text.size())));
  return text + line;
}

/// A piece of "w" with its elements, and a split or other members.
std::string piece_text(const std::string& elements, const std::string& more = "",
                       const std::string& file = "rank-00000.safetensors") {
  return R"({"tensor": "w", "state": "value", "file": ")" + file +
         R"(", "key": "value/w", "xxh3": "0123456789abcdef", "elements": )" + elements + more + "}";
}

std::string message(const std::string& text) {
  try {
    CheckpointIndex::from_json(text, "RUN/index.json");
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("RUN/index.json: "));
    return error.what();
  }
  return "";
}

TEST(CheckpointIndex, ComesBackAsWritten) {
  CheckpointIndex index{.step = 1'234'567'890'123,
                        .training = R"({"b": [1, 0.1], "a": "é\n", "big": 18446744073709551615})"};
  index.tensors["scale"] = {.shape = {}};
  index.tensors["a \"quoted\" name"] = {.shape = {6, 2}, .grid_width = 3};
  const TensorSplit first{.axis = 0, .groups = 2, .own = {{0, 1}, {2, 3}}};
  const TensorSplit second{.axis = 0, .groups = 2, .own = {{1, 2}}};
  const TensorSplit whole;
  index.pieces = {{"scale", "value", whole, {0, 1}, "r.safetensors", "k", ~std::uint64_t{0}},
                  {"a \"quoted\" name", "value", first, {0, 8}, "r.safetensors", "k1", 1},
                  {"a \"quoted\" name", "value", second, {0, 4}, "s.safetensors", "k2", 2}};
  const CheckpointIndex found = CheckpointIndex::from_json(index.to_json(), "here");
  EXPECT_EQ(found.step, index.step);
  EXPECT_EQ(found.training, R"({"b":[1,0.1],"a":"é\n","big":18446744073709551615})");
  ASSERT_EQ(found.tensors.size(), 2U);
  EXPECT_EQ(found.tensors.at("scale").shape, Shape({}));
  EXPECT_EQ(found.tensors.at("a \"quoted\" name").shape, Shape({6, 2}));
  EXPECT_EQ(found.tensors.at("a \"quoted\" name").grid_width, 3);
  EXPECT_EQ(found.tensors.at("scale").grid_width, 0);
  ASSERT_EQ(found.pieces.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    const CheckpointPiece &is = found.pieces[i], &was = index.pieces[i];
    EXPECT_EQ(is.tensor, was.tensor);
    EXPECT_EQ(is.state, was.state);
    EXPECT_EQ(is.split.axis, was.split.axis);
    EXPECT_EQ(is.split.groups, was.split.groups);
    EXPECT_EQ(is.split.own, was.split.own);
    EXPECT_EQ(is.elements, was.elements);
    EXPECT_EQ(is.file, was.file);
    EXPECT_EQ(is.key, was.key);
    EXPECT_EQ(is.checksum, was.checksum);
  }
}

TEST(CheckpointIndex, TakesNoStateOfTrainingThatIsNoObject) {
  for (const char* training : {"", "[1]", "{", "3"}) {
    CheckpointIndex index{.training = training};
    EXPECT_THROW(index.to_json(), RuntimeError) << training;
  }
}

TEST(CheckpointIndex, NamesWhatIsWrong) {
  const std::string whole = piece_text("[0, 12]");
  ASSERT_EQ(message(with_checksum(index_text("[6, 2]", whole))), "");
  struct Case {
    std::string text, expected;
  };
  const auto pieces = [](const std::string& text) { return index_text("[6, 2]", text); };
  const auto split = [](const std::string& text) {
    return index_text("[6, 2]", piece_text("[0, 12]", R"(, "split": )" + text));
  };
  const auto shape = [&](const std::string& text) { return index_text(text, whole); };
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = index_text("[6, 2]", whole);
    return text.replace(text.find(from), from.size(), to);
  };
  const Case cases[] = {
      {index_text("[6, 2]", whole), "is damaged: its text is one that ends with \"xxh3\": "},
      {"", "is no JSON"},
      {"{", "is no JSON"},
      {"\xff\xfe", "is no JSON"},
      {"[]", "expected an object"},
      {"{}", "there is no key 'format'"},
      {std::string(100'000, '['), "nested deeper than 100"},
      {replaced("tributary-checkpoint", "sharded"), "the format is 'sharded'"},
      {replaced(R"("version": 1)", R"("version": 2)"), "version 2 is not known; known is 1"},
      {replaced(R"("version": 1)", R"("version": "1")"), "version \"1\" is not known"},
      {replaced(R"("version": 1)", R"("version": 1.0)"), "version 1.0 is not known"},
      {replaced(R"("version": 1, )", ""), "there is no key 'version'"},
      {replaced(R"("step": 3)", R"("step": -3)"), "'step' holds -3"},
      {replaced(R"("step": 3)", R"("step": 1e3)"), "'step' holds 1000.0"},
      {replaced(R"("step": 3)", R"("step": 18446744073709551615)"), "'step' holds 1844"},
      {replaced(R"("training": {})", R"("training": 1)"), "'training' is no object"},
      {replaced(R"("training": {})", R"("t": {})"), "there is no key 'training'"},
      {replaced("F32", "BF16"), "tensor 'w': dtype BF16 is not supported, expected F32"},
      {replaced(R"("dtype": "F32")", R"("dtype": 32)"), "tensor 'w': 'dtype' is no text"},
      {replaced(R"("tensors": {)", R"("tensors": {"v": [], )"), "tensor 'v': expected an object"},
      {replaced(R"("tensors": {)", R"("tensors": {"v": {"shape": [2], "dtype": "F32"}, )"),
       "tensor 'v' (value): element 0 of [2] is in no piece"},
      {shape("6"), "tensor 'w': 'shape' is no list"},
      {shape("[-6, 2]"), "tensor 'w': 'shape' holds -6"},
      {shape("[6, null]"), "tensor 'w': 'shape' holds null"},
      {shape("[1,1,1,1,1,1,1,1,1]"), "tensor 'w': 'shape' is no list of at most 8"},
      {shape("[4294967296, 4294967296]"), "tensor 'w': 'shape' is larger than any file"},
      {shape("[0, 4294967296, 4294967296]"), "tensor 'w': 'shape' is larger than any file"},
      {shape("[9223372036854775807]"), "tensor 'w': 'shape' is larger than any file"},
      {shape(R"([6, 2], "grid_width": -1)"), "tensor 'w': 'grid_width' holds -1"},
      {shape("[7, 2]"), "tensor 'w' (value): element 12 of [7, 2] is in no piece"},
      {shape("[5, 2]"), "tensor 'w' (value) in rank-00000.safetensors: elements 0..12 of a part"},
      {pieces(""), "tensor 'w' (value): element 0 of [6, 2] is in no piece"},
      {pieces("7"), "piece 0: expected an object"},
      {pieces("{}"), "piece 0: there is no key 'tensor'"},
      {pieces(whole + R"(, {"tensor": "w"})"), "piece 1 (tensor 'w'): there is no key 'state'"},
      {pieces(piece_text("[0]")), "piece 0 (tensor 'w'): 'elements' is no pair"},
      {pieces(piece_text("{}")), "'elements' is no pair"},
      {pieces(piece_text("[-4, 12]")), "'elements' holds -4"},
      {pieces(piece_text("[0, 99999999999999999999]")), "'elements' holds"},
      {pieces(piece_text("[9, 3]")), "'elements' ends at 3, before it begins at 9"},
      {pieces(piece_text("[0, 13]")), "elements 0..13 of a part of 12"},
      {pieces(piece_text("[0, 9223372036854775807]")), "of a part of 12"},
      {pieces(piece_text("[1, 12]")), "element 0 of [6, 2] is in no piece"},
      {pieces(piece_text("[0, 4]") + "," + piece_text("[5, 12]")), "element 4 of [6, 2] is in no"},
      {pieces(piece_text("[0, 12]", "", "../x")),
       "expected a file name without folders, found '../x'"},
      {pieces(piece_text("[0, 12]", "", "/etc/x")), "expected a file name without folders"},
      {pieces(piece_text("[0, 12]", "", "..")), "expected a file name without folders"},
      {pieces(piece_text("[0, 12]", "", "a\\u0000b")), "expected a file name without folders"},
      {pieces(piece_text("[0, 12]", "", "")), "'file' is empty"},
      {replaced(R"("tensor": "w")", R"("tensor": "v")"), "the index lists no such tensor"},
      {replaced("0123456789abcdef", "123456789abcdef"), "expected 16 hexadecimal digits"},
      {replaced("0123456789abcdef", "-123456789abcdef"), "expected 16 hexadecimal digits"},
      {replaced("0123456789abcdef", "0123456789abcdeg"), "expected 16 hexadecimal digits"},
      {replaced(R"("0123456789abcdef")", "81985529216486895"), "'xxh3' is no text"},
      {split("null"), "expected an object"},
      {split("{}"), "there is no key 'axis'"},
      {split(R"({"axis": 2, "groups": 1, "own": [[0, 6]]})"), "split along axis 2 of shape [6, 2]"},
      {split(R"({"axis": -1, "groups": 1, "own": [[0, 6]]})"), "'axis' holds -1"},
      {split(R"({"axis": 4294967296, "groups": 1, "own": []})"), "there is no axis 4294967296"},
      {split(R"({"axis": 0, "groups": 0, "own": [[0, 6]]})"), "split of 0 groups"},
      {split(R"({"axis": 0, "groups": 4, "own": [[0, 1]]})"), "split of 4 groups along axis 0"},
      {split(R"({"axis": 0, "groups": 1, "own": 6})"), "'own' is no list"},
      {split(R"({"axis": 0, "groups": 1, "own": [6]})"), "'own' is no pair"},
      {split(R"({"axis": 0, "groups": 1, "own": [[0, 7]]})"), "split into 0..7"},
      {split(R"({"axis": 0, "groups": 1, "own": [[3, 6], [0, 3]]})"), "split into 0..3, expected"},
      {split(R"({"axis": 0, "groups": 1, "own": [[0, 4], [3, 6]]})"), "split into 3..6, expected"},
      {split(R"({"axis": 0, "groups": 1, "own": [[0, 5]]})"), "elements 0..12 of a part of 10"},
      // So large that looking at it run by run would take hours.
      {index_text("[1099511627776, 2]",
                  piece_text("[0, 1099511627776]",
                             R"(, "split": {"axis": 1, "groups": 1, "own": [[0, 1]]})")),
       "is cut into more than 16777216 runs"},
  };
  for (const Case& bad : cases) {
    EXPECT_THAT(message(bad.text), HasSubstr(bad.expected)) << bad.text.substr(0, 500);
  }
}

TEST(CheckpointIndex, FindsEachFlippedBit) {
  const std::string sound = load(write_small(make_folder(), 3) + "/index.json");
  ASSERT_EQ(message(sound), "");
  std::string text = sound;
  for (char& byte : text) {
    for (int bit = 0; bit < 8; ++bit) {
      const char was = byte;
      byte = static_cast<char>(byte ^ (1 << bit));
      EXPECT_NE(message(text), "") << "byte " << &byte - text.data() << " bit " << bit;
      byte = was;
    }
  }
}

TEST(CheckpointIndex, SurvivesRandomDamage) {
  const std::string sound = load(write_small(make_folder(), 3) + "/index.json");
  Random random(5);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string text = sound;
    for (std::int64_t edits = random.number(1, 3); edits > 0; --edits) {
      const auto at = static_cast<std::size_t>(random.number(0, std::ssize(text) - 1));
      constexpr std::string_view kBytes = "0192-{}[]\",:e.";
      switch (random.number(0, 2)) {
        case 0:
          text[at] = kBytes[static_cast<std::size_t>(random.number(0, std::ssize(kBytes) - 1))];
          break;
        case 1:
          text.erase(at, static_cast<std::size_t>(random.number(1, 9)));
          break;
        default:
          text.insert(at, 1, static_cast<char>(random.number(0, 255)));
          break;
      }
    }
    refused += message(text).empty() ? 0 : 1;
  }
  EXPECT_GT(refused, 2500) << "now and then an edit changes nothing";
}

TEST(CheckpointIndex, FindsTheFirstElementThatNoPieceHolds) {
  Random random(11);
  int holes = 0;
  for (int i = 0; i < 400; ++i) {
    const Shape shape = random_shape(random);
    std::vector<float> numbers(static_cast<std::size_t>(shape.numel()));
    std::iota(numbers.begin(), numbers.end(), 0.0F);
    std::vector<bool> held(numbers.size());
    CheckpointIndex index{.tensors = {{"w", {shape}}}};
    // Pieces of one or two ways to cut, most of them there.
    for (std::int64_t ways = random.number(1, 2); ways > 0; --ways) {
      for (const TensorSplit& split : random_splits(random, shape, 2)) {
        const std::vector<float> part = cut(numbers, shape, split);
        for (const Range& range : random_cuts(random, std::ssize(part), 3)) {
          if (random.number(0, 4) == 0) continue;
          index.pieces.push_back({"w", kValueState, split, range, "f", "k", 0});
          for (std::int64_t at = range.begin; at < range.end; ++at) {
            held[static_cast<std::size_t>(part[static_cast<std::size_t>(at)])] = true;
          }
        }
      }
    }
    const auto gap = std::find(held.begin(), held.end(), false) - held.begin();
    if (gap == std::ssize(held)) {
      EXPECT_NO_THROW(index.check("here"));
      continue;
    }
    ++holes;
    try {
      index.check("here");
      ADD_FAILURE() << "a hole at " << gap << " of " << shape.to_string();
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("element " + std::to_string(gap) + " of"));
    }
  }
  EXPECT_GT(holes, 50);
  EXPECT_LT(holes, 350);
}

}  // namespace
}  // namespace trib::io
