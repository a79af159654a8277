#include "pipeline/checkpoint/weights.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ops/base/error.h"

namespace trib::pipeline {
namespace {

using Json = nlohmann::ordered_json;
using model::PositionGrid;

/// The row that ViTs with a class token have in front of their position embeddings.
constexpr const char* kClassToken = "cls_token";

std::string text_of(const WeightsSource::Entry& entry) {
  const std::string type =
      entry.dtype == DType::f32 ? "" : fmt::format("{} ", name_of(entry.dtype));
  return type + entry.shape.to_string();
}

/// The grid of `positions` positions: of the width that is known, else of the proportions of
/// `like`, else square. Empty if there is none.
std::optional<PositionGrid> grid_of(std::int64_t positions, std::int64_t known_width,
                                    const PositionGrid& like) {
  if (positions < 1) return {};
  if (known_width > 0) {
    if (positions % known_width != 0) return {};
    return PositionGrid{positions / known_width, known_width};
  }
  for (const PositionGrid& shape : {like, PositionGrid{1, 1}}) {
    const double ratio = static_cast<double>(shape.width) / static_cast<double>(shape.height);
    const auto width = std::llround(std::sqrt(static_cast<double>(positions) * ratio));
    if (width < 1 || positions % width != 0) continue;
    const PositionGrid grid{positions / width, width};
    if (grid.width * shape.height == grid.height * shape.width) return grid;
  }
  return {};
}

bool is_position_embedding(const model::ParameterSpec& spec) {
  return spec.grid_width > 0 && spec.shape.rank() == 3 && spec.shape[0] == 1;
}

/// How a position embedding of a source becomes the model's; empty if it cannot.
std::optional<WeightsReport::Resized> find_resize(const model::ParameterSpec& spec,
                                                  const WeightsSource::Entry& found,
                                                  bool has_class_token) {
  const Shape& shape = found.shape;
  if (shape.rank() != 3 || shape[0] != 1 || shape[2] != spec.shape[2]) return {};
  const PositionGrid to{spec.shape[1] / spec.grid_width, spec.grid_width};
  const auto resize_from = [&](std::int64_t positions,
                               bool drops) -> std::optional<WeightsReport::Resized> {
    const auto from = grid_of(positions, found.grid_width, to);
    if (!from) return {};
    return WeightsReport::Resized{spec.name, *from, to, drops};
  };
  // A class token has a position in most models, not in all.
  if (has_class_token) {
    if (const auto rest = resize_from(shape[1] - 1, true)) return rest;
  }
  return resize_from(shape[1], false);
}

Json to_json(const WeightsReport::Difference& difference) {
  Json json = {{"name", difference.name}};
  if (!difference.expected.empty()) json["expected"] = difference.expected;
  if (!difference.found.empty()) json["found"] = difference.found;
  return json;
}

Json to_json(const PositionGrid& grid) {
  return Json::array({grid.height, grid.width});
}

Json to_json(const WeightsReport::Resized& resize) {
  return {{"name", resize.name},
          {"from_grid", to_json(resize.from)},
          {"to_grid", to_json(resize.to)},
          {"drops_class_token", resize.drops_class_token}};
}

template <class Entry>
Json list_of(const std::vector<Entry>& entries) {
  Json list = Json::array();
  for (const Entry& entry : entries) list.push_back(to_json(entry));
  return list;
}

}  // namespace

std::string WeightsReport::differences() const {
  std::string text;
  for (const Difference& one : missing) {
    text += fmt::format("  missing: {}, expected {}\n", one.name, one.expected);
  }
  for (const Difference& one : mismatched) {
    text += fmt::format("  shape: {}, expected {}, found {}\n", one.name, one.expected, one.found);
  }
  for (const Difference& one : unexpected) {
    text += fmt::format("  unexpected: {}, found {}\n", one.name, one.found);
  }
  if (!text.empty()) text.pop_back();
  return text;
}

std::string WeightsReport::text() const {
  std::string text = fmt::format("weights of {}: {} loaded", source, loaded.size());
  const auto count = [&](std::size_t number, const char* what) {
    if (number > 0) text += fmt::format(", {} {}", number, what);
  };
  count(resized.size(), "resized");
  count(fixed.size(), "fixed ones kept");
  count(missing.size(), "missing");
  count(mismatched.size(), "of another shape");
  count(unexpected.size(), "unexpected");
  for (const Resized& one : resized) {
    text += fmt::format("\n  resized: {} from {}x{} to {}x{} positions{}", one.name,
                        one.from.height, one.from.width, one.to.height, one.to.width,
                        one.drops_class_token ? ", without that of the class token" : "");
  }
  if (!is_complete()) text += "\n" + differences();
  return text;
}

std::string WeightsReport::to_json() const {
  const Json json = {{"source", source},
                     {"loaded", loaded},
                     {"resized", list_of(resized)},
                     {"fixed", fixed},
                     {"missing", list_of(missing)},
                     {"mismatched", list_of(mismatched)},
                     {"unexpected", list_of(unexpected)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

WeightsReport match_weights(const WeightsSource& source, const model::ParameterTable& table) {
  WeightsReport report;
  report.source = source.path();
  const bool has_class_token = source.tensors().contains(kClassToken);
  for (const model::ParameterSpec& spec : table.specs()) {
    const std::string expected = spec.shape.to_string();
    const auto entry = source.tensors().find(spec.name);
    if (entry == source.tensors().end()) {
      if (spec.trainable) {
        report.missing.push_back({spec.name, expected, ""});
      } else {
        report.fixed.push_back(spec.name);
      }
      continue;
    }
    const WeightsSource::Entry& found = entry->second;
    std::optional<WeightsReport::Resized> resize;
    if (found.dtype == DType::f32 && is_position_embedding(spec)) {
      resize = find_resize(spec, found, has_class_token);
    }
    const bool same_grid = !resize || resize->from == resize->to;
    if (found.dtype == DType::f32 && found.shape == spec.shape && same_grid) {
      report.loaded.push_back(spec.name);
    } else if (!spec.trainable) {
      report.fixed.push_back(spec.name);
    } else if (resize) {
      report.resized.push_back(*resize);
    } else {
      report.mismatched.push_back({spec.name, expected, text_of(found)});
    }
  }
  for (const auto& [name, found] : source.tensors()) {
    if (table.find(name) < 0) report.unexpected.push_back({name, "", text_of(found)});
  }
  return report;
}

namespace {

/// Open, saying where the path was written if that fails.
WeightsSource open_at(const std::string& place, const std::string& path) {
  try {
    return WeightsSource(path);
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: weights.from: {}", place, error.what()));
  }
}

}  // namespace

Weights::Weights(const ParameterValues& section, const model::ParameterTable& table)
    : table_(&table),
      place_(section.mark("from").text()),
      source_(open_at(place_, section.string("from"))),
      report_(match_weights(source_, table)) {
  if (section.string("match") == "partial" || report_.is_complete()) return;
  throw ConfigError(
      fmt::format("{}: weights.from: {} does not fit the model:\n{}\n"
                  "  (weights.match: partial loads what fits)",
                  place_, source_.path(), report_.differences()));
}

std::optional<Weights> Weights::of(const GraphDefinition& graph,
                                   const model::ParameterTable* table) {
  if (!graph.weights.has("from")) return {};
  if (table == nullptr) {
    throw ConfigError(
        fmt::format("{}: weights.from: the graph has no model", graph.weights.mark("from").text()));
  }
  return std::make_optional<Weights>(graph.weights, *table);
}

void Weights::load(const std::vector<model::StatePiece>& pieces) const {
  for (const model::StatePiece& piece : pieces) load_piece(piece);
}

void Weights::load_piece(const model::StatePiece& piece) const {
  if (piece.elements.size() == 0) return;
  const model::ParameterSpec& spec = table_->spec(piece.id);
  const auto& loaded = report_.loaded;
  if (std::find(loaded.begin(), loaded.end(), spec.name) != loaded.end()) {
    source_.read(spec.name, spec.split, piece.elements, piece.value);
    return;
  }
  for (const WeightsReport::Resized& resize : report_.resized) {
    if (resize.name != spec.name) continue;
    copy_part(resized(resize), spec.split, piece.elements, piece.value);
  }
}

Tensor Weights::resized(const WeightsReport::Resized& resize) const {
  const Tensor whole = source_.read_whole(resize.name);
  const std::int64_t dim = whole.dim(2);
  Tensor made = Tensor::empty({1, resize.to.positions(), dim}, DType::f32, MemoryKind::checkpoint);
  const float* first = whole.data<float>() + (resize.drops_class_token ? dim : 0);
  model::resize_position_embedding(made.data<float>(), resize.to, first, resize.from, dim);
  return made;
}

}  // namespace trib::pipeline
