#include "pipeline/cli/checkpoint_commands.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "io/checkpoint/checkpoint.h"
#include "io/checkpoint/checkpoint_writer.h"
#include "io/safetensors.h"
#include "ops/base/error.h"
#include "pipeline/checkpoint/weights_source.h"
#include "pipeline/observe/progress.h"

namespace trib::pipeline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// ---- inspect

struct TensorFacts {
  Shape shape;
  DType dtype = DType::f32;
  std::vector<std::string> states;
};

/// What there is to tell of a checkpoint, or of a file (without step and training).
struct Facts {
  std::string path;
  bool is_file = false;
  std::int64_t step = 0;
  std::map<std::string, std::int64_t> files = {};  ///< bytes by name
  std::map<std::string, TensorFacts> tensors = {};
  Json training = Json::object();
  Json metadata = Json::object();

  std::int64_t parameters() const {
    std::int64_t count = 0;
    for (const auto& [name, tensor] : tensors) count += tensor.shape.numel();
    return count;
  }
  std::int64_t bytes() const {
    std::int64_t sum = 0;
    for (const auto& [name, size] : files) sum += size;
    return sum;
  }
  std::set<std::string> states() const {
    std::set<std::string> all;
    for (const auto& [name, tensor] : tensors) {
      all.insert(tensor.states.begin(), tensor.states.end());
    }
    return all;
  }
};

std::int64_t size_of_file(const std::string& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) throw DataError(fmt::format("{}: cannot be read: {}", path, error.message()));
  return static_cast<std::int64_t>(size);
}

Facts facts_of_file(const std::string& path) {
  const io::SafetensorsFile file(path);
  Facts facts{.path = path, .is_file = true};
  facts.files[fs::path(path).filename().string()] = size_of_file(path);
  for (const auto& entry : file.entries()) {
    facts.tensors[entry.name] = {entry.shape, entry.dtype, {io::kValueState}};
  }
  for (const auto& [key, value] : file.metadata()) facts.metadata[key] = value;
  return facts;
}

Facts facts_of(const std::string& path) {
  if (is_weights_file(path)) return facts_of_file(path);
  const io::Checkpoint checkpoint(find_checkpoints(path).front());
  const io::CheckpointIndex& index = checkpoint.index();
  Facts facts{.path = checkpoint.path(), .step = index.step};
  facts.training = Json::parse(index.training);
  facts.files["index.json"] = size_of_file(checkpoint.path() + "/index.json");
  for (const auto& [name, tensor] : index.tensors) {
    facts.tensors[name] = {tensor.shape, tensor.dtype, {}};
  }
  for (const io::CheckpointPiece& piece : index.pieces) {
    if (!facts.files.contains(piece.file)) {
      facts.files[piece.file] = size_of_file(checkpoint.path() + "/" + piece.file);
    }
    auto& states = facts.tensors[piece.tensor].states;
    if (std::find(states.begin(), states.end(), piece.state) == states.end()) {
      states.push_back(piece.state);
    }
  }
  for (auto& [name, tensor] : facts.tensors) {
    std::sort(tensor.states.rbegin(), tensor.states.rend());  // the value first
  }
  return facts;
}

/// Lines "key: value"; what has several lines of its own is counted.
std::string pretty(const Json& object, const std::string& indent) {
  std::string text;
  for (const auto& [key, value] : object.items()) {
    if (value.is_object() && !value.empty()) {
      text += fmt::format("{}{}:\n{}", indent, key, pretty(value, indent + "  "));
      continue;
    }
    std::string shown = value.is_string() ? value.get<std::string>() : dump(value);
    if (const auto lines = std::count(shown.begin(), shown.end(), '\n'); lines > 0) {
      shown = fmt::format("({} lines)", lines);
    }
    text += fmt::format("{}{}: {}\n", indent, key, shown);
  }
  return text;
}

std::string tensor_table(const Facts& facts) {
  std::size_t name_width = 0, shape_width = 0;
  for (const auto& [name, tensor] : facts.tensors) {
    name_width = std::max(name_width, name.size());
    shape_width = std::max(shape_width, tensor.shape.to_string().size());
  }
  std::string text;
  for (const auto& [name, tensor] : facts.tensors) {
    text += fmt::format("  {:<{}}  {:<{}}  {}  {}\n", name, name_width, tensor.shape.to_string(),
                        shape_width, name_of(tensor.dtype), fmt::join(tensor.states, " "));
  }
  return text;
}

std::string plural(std::size_t count, const char* thing) {
  return fmt::format("{} {}{}", count, thing, count == 1 ? "" : "s");
}

}  // namespace

std::string inspect_checkpoint(const std::string& path, bool tensors) {
  const Facts facts = facts_of(path);
  std::string text = facts.path + "\n";
  if (!facts.is_file) text += fmt::format("  step: {}\n", facts.step);
  text += fmt::format("  parameters: {} in {}\n", facts.parameters(),
                      plural(facts.tensors.size(), "tensor"));
  text += fmt::format("  states: {}\n", fmt::join(facts.states(), ", "));
  text += fmt::format("  size: {} in {}\n", format_bytes(static_cast<double>(facts.bytes())),
                      plural(facts.files.size(), "file"));
  text += pretty(facts.metadata, "  ");
  if (!facts.training.empty()) text += "training\n" + pretty(facts.training, "  ");
  if (tensors) text += "tensors\n" + tensor_table(facts);
  return text;
}

std::string inspect_checkpoint_json(const std::string& path) {
  const Facts facts = facts_of(path);
  Json json = {{"path", facts.path}};
  if (!facts.is_file) json["step"] = facts.step;
  json["parameters"] = facts.parameters();
  json["bytes"] = facts.bytes();
  json["files"] = facts.files;
  json["tensors"] = Json::object();
  for (const auto& [name, tensor] : facts.tensors) {
    json["tensors"][name] = {
        {"shape", std::vector<std::int64_t>(tensor.shape.begin(), tensor.shape.end())},
        {"dtype", name_of(tensor.dtype)},
        {"states", tensor.states}};
  }
  if (facts.is_file) {
    json["metadata"] = facts.metadata;
  } else {
    json["training"] = facts.training;
  }
  return dump(json, 2) + "\n";
}

// ---- verify

VerifyReport verify_checkpoints(const std::string& path) {
  VerifyReport report;
  if (is_weights_file(path)) {
    try {
      const io::SafetensorsFile file(path);
      report.text = fmt::format("{}: {} fit the file; it has no checksums\n", path,
                                plural(file.entries().size(), "tensor"));
    } catch (const DataError& error) {
      report = {fmt::format("{}\n", error.what()), false};
    }
    return report;
  }
  for (const std::string& folder : find_checkpoints(path)) {
    try {
      const io::Checkpoint checkpoint(folder);
      const std::vector<std::string> damages = checkpoint.verify();
      for (const std::string& damage : damages) report.text += damage + "\n";
      report.is_intact = report.is_intact && damages.empty();
      if (!damages.empty()) continue;
      std::set<std::string> files;
      for (const auto& piece : checkpoint.index().pieces) files.insert(piece.file);
      report.text += fmt::format("{}: {} in {} are intact\n", folder,
                                 plural(checkpoint.index().tensors.size(), "tensor"),
                                 plural(files.size(), "file"));
    } catch (const DataError& error) {
      report.text += fmt::format("{}\n", error.what());
      report.is_intact = false;
    }
  }
  return report;
}

// ---- export and import

namespace {

void require_new(const std::string& path) {
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(path, ignored))) {
    throw ConfigError(fmt::format("{}: is there already; nothing is overwritten", path));
  }
}

struct PrefixMap {
  std::string from, to;
  bool is_used = false;
};

std::vector<PrefixMap> parse_maps(const std::vector<std::string>& texts) {
  std::vector<PrefixMap> maps;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw ConfigError(fmt::format("--map {}: expected OLD=NEW, two beginnings of names", text));
    }
    maps.push_back({text.substr(0, equals), text.substr(equals + 1)});
  }
  return maps;
}

std::string renamed(const std::string& name, std::vector<PrefixMap>& maps) {
  for (PrefixMap& map : maps) {
    if (!name.starts_with(map.from)) continue;
    map.is_used = true;
    return map.to + name.substr(map.from.size());
  }
  return name;
}

/// The tensors of a file under their new names.
std::map<std::string, std::string> old_names(const WeightsSource& source,
                                             const std::vector<std::string>& texts) {
  std::vector<PrefixMap> maps = parse_maps(texts);
  std::map<std::string, std::string> names;
  for (const auto& [old_name, entry] : source.tensors()) {
    const std::string name = renamed(old_name, maps);
    if (name.empty()) {
      throw ConfigError(fmt::format("--map leaves nothing of the name '{}'", old_name));
    }
    const auto [other, is_new] = names.emplace(name, old_name);
    if (!is_new) {
      throw ConfigError(fmt::format("{}: '{}' and '{}' would both be called '{}'", source.path(),
                                    other->second, old_name, name));
    }
  }
  for (const PrefixMap& map : maps) {
    if (map.is_used) continue;
    throw ConfigError(fmt::format("--map {}={}: no name is left in {} that begins with '{}'",
                                  map.from, map.to, source.path(), map.from));
  }
  return names;
}

}  // namespace

std::string export_checkpoint(const std::string& path, const std::string& file, bool all_states) {
  require_new(file);
  if (is_weights_file(path)) {
    throw ConfigError(fmt::format("{}: is a file, expected a checkpoint's folder", path));
  }
  const io::Checkpoint checkpoint(find_checkpoints(path).front());
  std::vector<io::NamedTensor> tensors;
  io::SafetensorsMetadata metadata{{"format", "pt"}};
  std::int64_t parameters = 0;
  for (const auto& [name, tensor] : checkpoint.index().tensors) {
    tensors.push_back({name, checkpoint.read_whole(name, io::kValueState)});
    parameters += tensor.shape.numel();
    if (tensor.grid_width > 0) metadata[kGridWidthKey + name] = std::to_string(tensor.grid_width);
  }
  if (all_states) {
    for (const char* state : {io::kExpAvgState, io::kExpAvgSqState}) {
      for (const auto& [name, tensor] : checkpoint.index().tensors) {
        if (!checkpoint.contains(name, state)) continue;
        tensors.push_back({fmt::format("{}/{}", state, name), checkpoint.read_whole(name, state)});
      }
    }
  }
  io::write_safetensors(file, tensors, metadata);
  return fmt::format("{}: {} of {}, {} parameters\n", file, plural(tensors.size(), "tensor"),
                     checkpoint.path(), parameters);
}

std::string import_checkpoint(const std::string& file, const std::string& folder,
                              const std::vector<std::string>& maps) {
  require_new(folder);
  if (!is_weights_file(file)) {
    throw DataError(fmt::format("{}: there is no such file", file));
  }
  const WeightsSource source(file);
  const auto names = old_names(source, maps);
  std::vector<Tensor> tensors;
  std::vector<io::PieceData> pieces;
  std::map<std::string, io::CheckpointTensor> table;
  std::int64_t parameters = 0;
  for (const auto& [name, old_name] : names) {
    const Tensor tensor = tensors.emplace_back(source.read_whole(old_name));
    table[name] = {.shape = tensor.shape(), .grid_width = source.tensors().at(old_name).grid_width};
    pieces.push_back({.tensor = name,
                      .state = io::kValueState,
                      .elements = {0, tensor.shape().numel()},
                      .data = tensor.data<float>()});
    parameters += tensor.shape().numel();
  }
  const io::CheckpointWriter writer(folder, 0);
  std::string made;
  try {
    writer.write_rank(0, pieces);
    made = writer.commit(1, table, "{}");
  } catch (...) {
    try {
      writer.discard();
      fs::remove(folder);              // if it is empty
    } catch (const std::exception&) {  // what went wrong first is the reason
    }
    throw;
  }
  return fmt::format("{}: {} of {}, {} parameters\n", made, plural(tensors.size(), "tensor"), file,
                     parameters);
}

}  // namespace trib::pipeline
