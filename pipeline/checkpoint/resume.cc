#include "pipeline/checkpoint/resume.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "pipeline/graph/document.h"

namespace trib::pipeline {
namespace {

constexpr std::size_t kMostListed = 5;  // of the differences or faults of one checkpoint
constexpr const char* kStartFromWeights =
    "to start a new run from its weights, set weights.from to it";

// The first few, each on a line of its own.
std::string listed(const std::vector<std::string>& all) {
  std::string text;
  for (std::size_t i = 0; i < std::min(all.size(), kMostListed); ++i) text += "\n  " + all[i];
  if (all.size() > kMostListed) text += fmt::format("\n  and {} more", all.size() - kMostListed);
  return text;
}

// What is wrong with a checkpoint; nothing if it is whole.
std::vector<std::string> faults_of(const std::string& path) {
  try {
    const io::Checkpoint checkpoint(path);
    std::vector<std::string> faults = checkpoint.verify();
    for (const auto& [name, tensor] : checkpoint.index().tensors) {
      for (const char* state : {io::kValueState, io::kExpAvgState, io::kExpAvgSqState}) {
        if (checkpoint.contains(name, state)) continue;
        faults.push_back(fmt::format("{}: {} has no {}", path, name, state));
      }
    }
    const auto state = TrainingState::from_json(checkpoint.index().training, path);
    if (state.step != checkpoint.index().step) {
      faults.push_back(fmt::format("{}: its training state is of step {}, expected {}", path,
                                   state.step, checkpoint.index().step));
    }
    return faults;
  } catch (const DataError& error) {
    return {error.what()};
  }
}

std::string value_text(const DocumentValue& value) {
  if (value.is_scalar()) return value.text;
  if (!value.is_sequence()) return value.shown();
  std::string text;
  for (const DocumentValue& item : value.items) {
    text += (text.empty() ? "" : ", ") + value_text(item);
  }
  return "[" + text + "]";
}

using Values = std::map<std::string, std::string>;

void flatten(const DocumentValue& value, const std::string& name, Values& values) {
  if (!value.is_mapping()) {
    values[name] = value_text(value);
    return;
  }
  for (const auto& entry : value.entries) {
    const std::string key = name.empty() ? entry.key : name + "." + entry.key;
    flatten(entry.value, key == "nodes" ? "" : key, values);  // nodes go by their own names
  }
}

Values values_of(const std::string& yaml) {
  Values values;
  Diagnostics diagnostics;
  const auto document = parse_document(yaml, "graph", diagnostics);
  if (document) flatten(*document, "", values);
  return values;
}

}  // namespace

std::string newest_valid_checkpoint(const std::string& run_folder,
                                    const std::function<void(const std::string&)>& warn) {
  const std::vector<std::string> all = io::list_checkpoints(run_folder + "/checkpoints");
  std::string refused;
  for (const std::string& path : all) {
    const std::vector<std::string> faults = faults_of(path);
    if (faults.empty()) return path;
    warn(fmt::format("{} is damaged and passed over:{}", path, listed(faults)));
    refused += fmt::format("\n{}:{}", path, listed(faults));
  }
  if (all.empty()) return {};
  throw DataError(
      fmt::format("{}: none of its {} checkpoints is whole:{}", run_folder, all.size(), refused));
}

void check_model(const io::Checkpoint& checkpoint, const model::ParameterTable& table) {
  const auto& tensors = checkpoint.index().tensors;
  std::vector<std::string> differences;
  for (const model::ParameterSpec& spec : table.specs()) {
    const auto found = tensors.find(spec.name);
    if (found == tensors.end()) {
      differences.push_back(
          fmt::format("{}: expected {}, not there", spec.name, spec.shape.to_string()));
    } else if (found->second.shape != spec.shape) {
      differences.push_back(fmt::format("{}: expected {}, found {}", spec.name,
                                        spec.shape.to_string(), found->second.shape.to_string()));
    } else if (found->second.grid_width != spec.grid_width) {
      differences.push_back(fmt::format("{}: expected a grid of {} columns, found {}", spec.name,
                                        spec.grid_width, found->second.grid_width));
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (table.find(name) >= 0) continue;
    differences.push_back(
        fmt::format("{}: not expected, found {}", name, tensor.shape.to_string()));
  }
  if (differences.empty()) return;
  throw ConfigError(fmt::format("{} is of another model than the graph's:{}", checkpoint.path(),
                                listed(differences)));
}

void check_stream(const TrainingState& state, const ResumingRun& run,
                  const std::string& checkpoint) {
  std::string what;
  if (state.seed != run.seed) {
    what = fmt::format("its seed is {}, the graph's {}", state.seed, run.seed);
  } else if (state.stream != run.stream) {
    what = "its samples are others, or in another order, than the graph's";
  } else {
    return;
  }
  const std::vector<std::string> changed = changed_values(state.graph, run.graph);
  throw ConfigError(fmt::format("{} cannot be resumed: {}; {}{}", checkpoint, what,
                                kStartFromWeights,
                                changed.empty() ? ". The graph is the same: has the data changed?"
                                                : ". Changed since:" + listed(changed)));
}

std::vector<std::string> changed_values(const std::string& before, const std::string& after) {
  const Values old_values = values_of(before), new_values = values_of(after);
  std::vector<std::string> changed;
  const auto shown = [](const Values& values, const std::string& name) {
    const auto found = values.find(name);
    return found == values.end() ? std::string("none") : found->second;
  };
  Values all = old_values;
  all.insert(new_values.begin(), new_values.end());
  for (const auto& [name, value] : all) {
    const std::string was = shown(old_values, name), is = shown(new_values, name);
    if (was != is) changed.push_back(fmt::format("{}: {} -> {}", name, was, is));
  }
  return changed;
}

void restore(const io::Checkpoint& checkpoint, const model::ParameterTable& table,
             const std::vector<model::StatePiece>& held_state) {
  for (const model::StatePiece& piece : held_state) {
    const model::ParameterSpec& spec = table.spec(piece.id);
    const auto read = [&](const char* state, float* to) {
      checkpoint.read(spec.name, state, spec.split, piece.elements, to);
    };
    read(io::kValueState, piece.value);
    read(io::kExpAvgState, piece.exp_avg);
    read(io::kExpAvgSqState, piece.exp_avg_sq);
  }
}

}  // namespace trib::pipeline
