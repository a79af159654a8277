#include "pipeline/checkpoint/training_state.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"

namespace trib::pipeline {
namespace {

using nlohmann::ordered_json;

constexpr const char* kRandomKeys =
    "a function of the seed, a name, and the step or the position of the sample; no other state";

/// An object of known keys; errors name the file and the key.
class Reader {
 public:
  Reader(const ordered_json& object, const std::string& path, std::string prefix,
         std::initializer_list<std::string_view> keys)
      : object_(object), path_(path), prefix_(std::move(prefix)) {
    if (!object.is_object()) fail("", fmt::format("is {}, not an object", object.type_name()));
    for (const auto& [key, value] : object.items()) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) fail(key, "is unknown");
    }
    for (const std::string_view key : keys) {
      if (!object.contains(key)) fail(key, "is missing");
    }
  }

  const ordered_json& object(std::string_view key) const { return object_.at(key); }
  std::int64_t count(std::string_view key) const {
    const std::uint64_t value = natural(key, object_.at(key));
    if (value > INT64_MAX) wrong(key, "a whole number below 2^63", object_.at(key));
    return static_cast<std::int64_t>(value);
  }
  std::uint64_t natural(std::string_view key) const { return natural(key, object_.at(key)); }
  double number(std::string_view key) const {
    const ordered_json& value = object_.at(key);
    if (!value.is_number()) wrong(key, "a number", value);
    return value.get<double>();
  }
  std::string text(std::string_view key) const {
    const ordered_json& value = object_.at(key);
    if (!value.is_string()) wrong(key, "text", value);
    return value.get<std::string>();
  }
  std::uint64_t hexadecimal(std::string_view key) const {
    const std::string digits = text(key);
    std::uint64_t value = 0;
    const char* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value, 16);
    if (error != std::errc() || stop != end) wrong(key, "hexadecimal digits", object_.at(key));
    return value;
  }
  const ordered_json& list(std::string_view key) const {
    const ordered_json& value = object_.at(key);
    if (!value.is_array()) wrong(key, "a list", value);
    return value;
  }
  std::vector<std::uint64_t> naturals(std::string_view key) const {
    std::vector<std::uint64_t> values;
    for (const ordered_json& value : list(key)) values.push_back(natural(key, value));
    return values;
  }

  [[noreturn]] void fail(std::string_view key, const std::string& what) const {
    throw DataError(fmt::format("{}: training state: key '{}{}' {}", path_, prefix_, key, what));
  }

 private:
  std::uint64_t natural(std::string_view key, const ordered_json& value) const {
    if (!value.is_number_unsigned()) wrong(key, "a whole number of at least 0", value);
    return value.get<std::uint64_t>();
  }
  [[noreturn]] void wrong(std::string_view key, const char* expected,
                          const ordered_json& found) const {
    fail(key, fmt::format("is {}; expected {}", found.dump(), expected));
  }

  const ordered_json& object_;
  const std::string& path_;
  std::string prefix_;
};

ordered_json consumed_json(const ConsumedSamples& consumed) {
  ordered_json earlier = ordered_json::array();
  for (const ConsumedSamples& run : consumed.earlier) earlier.push_back(consumed_json(run));
  return {{"batch_size", consumed.batch_size},
          {"ranks", consumed.ranks},
          {"next_positions", consumed.next_positions},
          {"earlier", earlier}};
}

ConsumedSamples consumed_of(const ordered_json& json, const std::string& path,
                            const std::string& prefix) {
  const Reader reader(json, path, prefix, {"batch_size", "ranks", "next_positions", "earlier"});
  ConsumedSamples consumed;
  consumed.batch_size = reader.count("batch_size");
  consumed.ranks = static_cast<int>(reader.count("ranks"));
  consumed.next_positions = reader.naturals("next_positions");
  for (const ordered_json& run : reader.list("earlier")) {
    consumed.earlier.push_back(consumed_of(run, path, prefix + "earlier."));
  }
  return consumed;
}

}  // namespace

std::string TrainingState::to_json() const {
  ordered_json json;
  json["program"] = program;
  json["step"] = step;
  json["epoch"] = epoch;
  json["seconds"] = seconds;
  json["seed"] = seed;
  json["mesh"] = {{"data", mesh.data}, {"shard", mesh.shard}, {"tensor", mesh.tensor}};
  json["stream"] = fmt::format("{:016x}", stream);
  json["samples"] = consumed_json(consumed);
  json["schedule"] = {{"next_lr", next_lr},
                      {"lr", schedule.lr},
                      {"start_lr", schedule.start_lr},
                      {"min_lr", schedule.min_lr},
                      {"warmup_steps", schedule.warmup_steps},
                      {"steps", schedule.steps}};
  json["random"] = {{"seed", seed}, {"keys", kRandomKeys}};
  json["graph"] = graph;
  return json.dump();
}

TrainingState TrainingState::from_json(const std::string& text, const std::string& path) {
  ordered_json json;
  try {
    json = ordered_json::parse(text);
  } catch (const ordered_json::parse_error& error) {
    throw DataError(fmt::format("{}: training state: {}", path, error.what()));
  }
  TrainingState state;
  const Reader top(json, path, "",
                   {"program", "step", "epoch", "seconds", "seed", "mesh", "stream", "samples",
                    "schedule", "random", "graph"});
  state.program = top.text("program");
  state.step = top.count("step");
  state.epoch = top.count("epoch");
  state.seconds = top.number("seconds");
  state.seed = top.natural("seed");
  state.graph = top.text("graph");

  const Reader mesh(top.object("mesh"), path, "mesh.", {"data", "shard", "tensor"});
  state.mesh = {static_cast<int>(mesh.count("data")), static_cast<int>(mesh.count("shard")),
                static_cast<int>(mesh.count("tensor"))};

  state.stream = top.hexadecimal("stream");
  state.consumed = consumed_of(top.object("samples"), path, "samples.");
  try {
    state.consumed.check();
  } catch (const DataError& error) {
    top.fail("samples", fmt::format("cannot be: {}", error.what()));
  }

  const Reader schedule(top.object("schedule"), path, "schedule.",
                        {"next_lr", "lr", "start_lr", "min_lr", "warmup_steps", "steps"});
  state.next_lr = schedule.number("next_lr");
  state.schedule.lr = schedule.number("lr");
  state.schedule.start_lr = schedule.number("start_lr");
  state.schedule.min_lr = schedule.number("min_lr");
  state.schedule.warmup_steps = schedule.count("warmup_steps");
  state.schedule.steps = schedule.count("steps");

  const Reader random(top.object("random"), path, "random.", {"seed", "keys"});
  if (random.natural("seed") != state.seed) {
    random.fail("seed",
                fmt::format("is {}; expected the run's, {}", random.natural("seed"), state.seed));
  }
  return state;
}

}  // namespace trib::pipeline
