#include "io/checkpoint/checkpoint_index.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <xxhash.h>

#include "io/checkpoint/split_runs.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "tributary-checkpoint";
constexpr std::int64_t kVersion = 1;
constexpr const char* kDType = "F32";
constexpr int kMaxDepth = 100;  // of the JSON; it is written out again by recursion
constexpr std::int64_t kMaxRuns = std::int64_t{1} << 24;

// ---- writing

Json to_json(const Shape& shape) {
  return std::vector<std::int64_t>(shape.begin(), shape.end());
}

Json to_json(const Range& range) {
  return Json::array({range.begin, range.end});
}

Json to_json(const TensorSplit& split) {
  Json own = Json::array();
  for (const Range& range : split.own) own.push_back(to_json(range));
  return {{"axis", split.axis}, {"groups", split.groups}, {"own", std::move(own)}};
}

Json to_json(const CheckpointPiece& piece) {
  Json json = {
      {"tensor", piece.tensor}, {"state", piece.state}, {"file", piece.file}, {"key", piece.key}};
  if (piece.split.active()) json["split"] = to_json(piece.split);
  json["elements"] = to_json(piece.elements);
  json["xxh3"] = fmt::format("{:016x}", piece.checksum);
  return json;
}

/// How an index with these bytes before it ends.
std::string ending_of(std::string_view text) {
  return fmt::format("\"xxh3\": \"{:016x}\"\n}}\n", XXH3_64bits(text.data(), text.size()));
}

// ---- parsing; errors say what is wrong, callers add the place

[[noreturn]] void fail(const std::string& message) {
  throw DataError(message);
}

void require(bool condition, const std::string& message) {
  if (!condition) fail(message);
}

const Json& member(const Json& json, const char* key) {
  require(json.is_object(), "expected an object");
  const auto found = json.find(key);
  require(found != json.end(), fmt::format("there is no key '{}'", key));
  return *found;
}

std::string text_of(const Json& json, const char* key) {
  const Json& value = member(json, key);
  require(value.is_string(), fmt::format("'{}' is no text", key));
  const auto& text = value.get_ref<const std::string&>();
  require(!text.empty(), fmt::format("'{}' is empty", key));
  return text;
}

std::int64_t count_of(const Json& json, const char* key) {
  require(json.is_number_unsigned() && json.get<std::uint64_t>() <= INT64_MAX,
          fmt::format("'{}' holds {}, expected a number of 0 or more", key, json.dump()));
  return json.get<std::int64_t>();
}

Range range_of(const Json& json, const char* key) {
  require(json.is_array() && json.size() == 2,
          fmt::format("'{}' is no pair of a first and an end", key));
  const Range range{count_of(json[0], key), count_of(json[1], key)};
  require(range.begin <= range.end,
          fmt::format("'{}' ends at {}, before it begins at {}", key, range.end, range.begin));
  return range;
}

CheckpointTensor parse_tensor(const Json& json) {
  const std::string dtype = text_of(json, "dtype");
  require(dtype == kDType, fmt::format("dtype {} is not supported, expected {}", dtype, kDType));
  const Json& extents = member(json, "shape");
  require(extents.is_array() && extents.size() <= Shape::kMaxRank,
          fmt::format("'shape' is no list of at most {} numbers", Shape::kMaxRank));
  CheckpointTensor tensor;
  auto bytes = static_cast<std::int64_t>(size_of(tensor.dtype));
  for (const Json& extent : extents) {
    tensor.shape.push_back(count_of(extent, "shape"));
    // An extent of 0 must not hide what the others would take.
    const std::int64_t least = std::max<std::int64_t>(count_of(extent, "shape"), 1);
    require(!__builtin_mul_overflow(bytes, least, &bytes), "'shape' is larger than any file");
  }
  if (json.contains("grid_width")) {
    tensor.grid_width = count_of(json.at("grid_width"), "grid_width");
  }
  return tensor;
}

TensorSplit parse_split(const Json& json) {
  TensorSplit split;
  const std::int64_t axis = count_of(member(json, "axis"), "axis");
  require(axis < Shape::kMaxRank, fmt::format("there is no axis {}", axis));
  split.axis = static_cast<int>(axis);
  split.groups = count_of(member(json, "groups"), "groups");
  const Json& own = member(json, "own");
  require(own.is_array(), "'own' is no list");
  for (const Json& range : own) split.own.push_back(range_of(range, "own"));
  return split;
}

CheckpointPiece parse_piece(const Json& json) {
  CheckpointPiece piece;
  piece.tensor = text_of(json, "tensor");
  piece.state = text_of(json, "state");
  piece.file = text_of(json, "file");
  piece.key = text_of(json, "key");
  require(piece.file != "." && piece.file != ".." &&
              piece.file.find_first_of(std::string_view("/\0", 2)) == std::string::npos,
          fmt::format("expected a file name without folders, found '{}'", piece.file));
  if (json.contains("split")) piece.split = parse_split(json.at("split"));
  piece.elements = range_of(member(json, "elements"), "elements");
  const std::string checksum = text_of(json, "xxh3");
  const char* end = checksum.data() + checksum.size();
  const auto [stop, error] = std::from_chars(checksum.data(), end, piece.checksum, 16);
  require(checksum.size() == 16 && error == std::errc() && stop == end,
          fmt::format("'xxh3' is '{}', expected 16 hexadecimal digits", checksum));
  return piece;
}

Json parse_text(const std::string& text) {
  try {
    return Json::parse(text, [](int depth, Json::parse_event_t, Json&) {
      require(depth <= kMaxDepth, fmt::format("nested deeper than {}", kMaxDepth));
      return true;
    });
  } catch (const Json::exception& error) {
    fail(fmt::format("is no JSON: {}", error.what()));
  }
}

/// Name a piece in a message even if it has no proper name.
std::string name_of_piece(const Json& json, std::size_t i) {
  if (json.is_object() && json.contains("tensor") && json["tensor"].is_string()) {
    return fmt::format("piece {} (tensor '{}')", i, json["tensor"].get_ref<const std::string&>());
  }
  return fmt::format("piece {}", i);
}

template <class Parse>
auto at_place(const std::string& place, const Parse& parse) {
  try {
    return parse();
  } catch (const DataError& error) {
    fail(fmt::format("{}: {}", place, error.what()));
  }
}

/// Numbers that were damaged can still make a sound index of something else.
void check_ending(std::string_view text) {
  static const std::size_t kLength = ending_of("").size();
  const std::size_t length = text.size() - std::min(text.size(), kLength);
  const std::string expected = ending_of(text.substr(0, length));
  require(text.substr(length) == expected,
          fmt::format("is damaged: its text is one that ends with {}, but does not",
                      expected.substr(0, expected.find('\n'))));
}

// ---- coverage

/// First position of 0 .. count that no range holds; `count` if all are held.
std::int64_t first_gap(const std::vector<Range>& joined, std::int64_t count) {
  if (joined.empty() || joined.front().begin > 0) return 0;
  return std::min(joined.front().end, count);
}

/// The elements held of one way to cut a tensor.
struct PartRanges {
  TensorSplit split;  // canonical
  std::vector<Range> elements;
};

std::vector<PartRanges> ranges_by_part(const Shape& shape,
                                       const std::vector<const CheckpointPiece*>& pieces) {
  std::vector<PartRanges> parts;
  for (const CheckpointPiece* piece : pieces) {
    const TensorSplit split = canonical_split(shape, piece->split);
    auto part = std::find_if(parts.begin(), parts.end(), [&](const PartRanges& other) {
      return same_split(other.split, split);
    });
    if (part == parts.end()) part = parts.insert(parts.end(), {split, {}});
    part->elements.push_back(piece->elements);
  }
  for (PartRanges& part : parts) part.elements = join_ranges(std::move(part.elements));
  return parts;
}

/// Whether parts that are there in full make up the tensor. This is so for all that ranks write,
/// and costs the same whatever the shape.
bool parts_cover(const Shape& shape, const std::vector<PartRanges>& parts) {
  std::map<std::pair<int, std::int64_t>, std::vector<Range>> own;  // by axis and groups
  for (const auto& [split, elements] : parts) {
    const std::int64_t count = local_shape(shape, split).numel();
    if (first_gap(elements, count) < count) continue;
    if (!split.active()) return true;
    auto& ranges = own[{split.axis, split.groups}];
    ranges.insert(ranges.end(), split.own.begin(), split.own.end());
  }
  return std::any_of(own.begin(), own.end(), [&](const auto& entry) {
    const std::int64_t run = shape[entry.first.first] / entry.first.second;
    return first_gap(join_ranges(entry.second), run) == run;
  });
}

/// First element of the tensor in no piece; numel() if there is none.
std::int64_t first_uncovered(const Shape& shape,
                             const std::vector<const CheckpointPiece*>& pieces) {
  const std::int64_t count = shape.numel();
  if (count == 0) return count;
  const std::vector<PartRanges> parts = ranges_by_part(shape, pieces);
  if (parts_cover(shape, parts)) return count;
  std::int64_t runs = 0;
  std::vector<Range> held;
  for (const auto& [split, elements] : parts) {
    if (split.active()) {
      std::int64_t outer = split.groups;
      for (int axis = 0; axis < split.axis; ++axis) outer *= shape[axis];
      runs += outer * std::ssize(split.own);
    }
    require(runs <= kMaxRuns, fmt::format("is cut into more than {} runs", kMaxRuns));
    for (const SplitRun& run : runs_of(shape, split, elements)) {
      held.push_back({run.global, run.global + run.count});
    }
  }
  return first_gap(join_ranges(std::move(held)), count);
}

void check_cover(const Shape& shape, const std::vector<const CheckpointPiece*>& pieces) {
  const std::int64_t gap = first_uncovered(shape, pieces);
  require(gap == shape.numel(),
          fmt::format("element {} of {} is in no piece", gap, shape.to_string()));
}

void check_piece(const Shape& shape, const CheckpointPiece& piece) {
  const std::string error = split_error(shape, piece.split);
  require(error.empty(), error);
  const std::int64_t count = local_shape(shape, piece.split).numel();
  require(piece.elements.begin >= 0 && piece.elements.begin <= piece.elements.end &&
              piece.elements.end <= count,
          fmt::format("elements {}..{} of a part of {}", piece.elements.begin, piece.elements.end,
                      count));
}

}  // namespace

std::string CheckpointIndex::to_json() const {
  try {
    const Json state = Json::parse(training);
    if (!state.is_object()) throw RuntimeError("the state of the training is no JSON object");
    // One line a tensor and a piece, for people and their tools.
    std::string text =
        fmt::format("{{\n\"format\": \"{}\",\n\"version\": {},\n\"step\": {},\n\"training\": {}",
                    kFormat, kVersion, step, state.dump());
    text += ",\n\"tensors\": {";
    const char* separator = "\n";
    for (const auto& [name, tensor] : tensors) {
      Json entry = {{"shape", io::to_json(tensor.shape)}, {"dtype", kDType}};
      if (tensor.grid_width > 0) entry["grid_width"] = tensor.grid_width;
      text +=
          fmt::format("{}{}: {}", std::exchange(separator, ",\n"), Json(name).dump(), entry.dump());
    }
    text += "\n},\n\"pieces\": [";
    separator = "\n";
    for (const CheckpointPiece& piece : pieces) {
      text += std::exchange(separator, ",\n") + io::to_json(piece).dump();
    }
    text += "\n],\n";
    return text + ending_of(text);
  } catch (const Json::exception& error) {
    throw RuntimeError(fmt::format("a checkpoint's index cannot be written: {}", error.what()));
  }
}

CheckpointIndex CheckpointIndex::parse(const std::string& text, const std::string& path) {
  return at_place(path, [&] {
    const Json json = parse_text(text);
    const std::string format = text_of(json, "format");
    require(format == kFormat, fmt::format("the format is '{}', expected '{}'", format, kFormat));
    const Json& version = member(json, "version");
    require(version.is_number_integer() && version == kVersion,
            fmt::format("version {} is not known; known is {}", version.dump(), kVersion));

    CheckpointIndex index;
    index.step = count_of(member(json, "step"), "step");
    const Json& tensors = member(json, "tensors");
    require(tensors.is_object(), "'tensors' is no object");
    for (const auto& [name, tensor] : tensors.items()) {
      index.tensors[name] = at_place(fmt::format("tensor '{}'", name),
                                     [&, &tensor = tensor] { return parse_tensor(tensor); });
    }
    const Json& pieces = member(json, "pieces");
    require(pieces.is_array(), "'pieces' is no list");
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      index.pieces.push_back(
          at_place(name_of_piece(pieces[i], i), [&] { return parse_piece(pieces[i]); }));
    }
    const Json& training = member(json, "training");
    require(training.is_object(), "'training' is no object");
    index.training = training.dump();
    return index;
  });
}

void CheckpointIndex::check(const std::string& path) const {
  std::map<std::pair<std::string, std::string>, std::vector<const CheckpointPiece*>> states;
  for (const auto& [name, tensor] : tensors) states[{name, kValueState}];
  for (const CheckpointPiece& piece : pieces) {
    at_place(fmt::format("{}: tensor '{}' ({}) in {}", path, piece.tensor, piece.state, piece.file),
             [&] {
               const auto tensor = tensors.find(piece.tensor);
               require(tensor != tensors.end(), "the index lists no such tensor");
               check_piece(tensor->second.shape, piece);
             });
    states[{piece.tensor, piece.state}].push_back(&piece);
  }
  for (const auto& [state, held] : states) {
    at_place(
        fmt::format("{}: tensor '{}' ({})", path, state.first, state.second),
        [&, &state = state, &held = held] { check_cover(tensors.at(state.first).shape, held); });
  }
}

CheckpointIndex CheckpointIndex::from_json(const std::string& text, const std::string& path) {
  CheckpointIndex index = parse(text, path);
  index.check(path);
  at_place(path, [&] { check_ending(text); });
  return index;
}

}  // namespace trib::io
