#include "pipeline/run/summary.h"

#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "model/model.h"
#include "pipeline/observe/progress.h"

namespace trib::pipeline {
namespace {

using nlohmann::ordered_json;

std::string bytes_text(std::int64_t bytes) {
  return format_bytes(static_cast<double>(bytes));
}

ordered_json to_json(const EvaluationReport& report) {
  ordered_json json = ordered_json::object();
  for (const auto& [name, value] : report) json[name] = value;
  return json;
}

std::string edge_text(const StreamInfo& info) {
  std::string text = fmt::format("{} of {} channels, {}x{}", name_of(info.kind),
                                 info.channels.size(), info.extent.height, info.extent.width);
  if (!info.extents_agree) text += " and other sizes";
  if (!info.targets.empty()) text += fmt::format(", {} targets", info.targets.size());
  if (info.batch_size > 0) text += fmt::format(", {} a batch and rank", info.batch_size);
  return text;
}

// The loss before and after; errors of a forecast beside persistence.
std::string evaluation_text(const TrainingSummary& t) {
  if (t.first_evaluation.empty()) return {};
  const double first = t.first_evaluation.front().second;
  const double last = t.last_evaluation.front().second;
  std::string text =
      fmt::format("evaluation loss {:.4g} -> {:.4g} ({:.1f} %)\n", first, last, 100 * last / first);
  constexpr std::string_view kPrefix = "eval_rmse_";
  for (std::size_t i = 1; i + 1 < t.last_evaluation.size(); i += 2) {
    const auto& [name, rmse] = t.last_evaluation[i];
    text += fmt::format("  RMSE of {:<8} {:>10.4g}, of persistence {:>10.4g}\n",
                        name.substr(kPrefix.size()), rmse, t.last_evaluation[i + 1].second);
  }
  return text;
}

}  // namespace

std::string summary_text(const RunSummary& s) {
  std::string text;
  if (s.training) {
    const TrainingSummary& t = *s.training;
    text += fmt::format(
        "{} steps of {} samples in {:.1f} s: {:.1f} samples/s, {:.1f} ms a step, {:.1f} GFLOP/s a "
        "rank, {:.1f} % of the time waiting for data\n",
        t.steps, t.global_batch, s.engine.seconds, t.samples_per_second, 1e3 * t.step_seconds,
        t.gflops, s.engine.seconds > 0 ? 100 * t.wait_seconds / s.engine.seconds : 0.0);
    text += fmt::format("loss {:.4g} -> {:.4g}\n", t.first_loss, t.last_loss);
    text += evaluation_text(t);
  } else {
    text += fmt::format(
        "{} samples in {:.1f} s: {:.1f} samples/s on rank 0\n", s.engine.samples, s.engine.seconds,
        s.engine.seconds > 0 ? static_cast<double>(s.engine.samples) / s.engine.seconds : 0.0);
  }
  text += "memory of a rank   predicted    peak\n";
  for (std::size_t k = 0; k < kMemoryKinds; ++k) {
    if (s.predicted_bytes[k] == 0 && s.measured[k].peak == 0) continue;
    text += fmt::format("  {:<15} {:>10} {:>10}\n", name_of(static_cast<MemoryKind>(k)),
                        bytes_text(s.predicted_bytes[k]), bytes_text(s.measured[k].peak));
  }
  text += fmt::format("  {:<15} {:>10} {:>10}\n", "resident", "", bytes_text(s.peak_rss_bytes));
  if (s.skipped > 0) text += fmt::format("{} images skipped, see skipped.jsonl\n", s.skipped);
  text += fmt::format("results in {}", s.folder);
  return text;
}

std::string summary_json(const RunSummary& s) {
  ordered_json json;
  json["ranks"] = s.ranks;
  json["samples"] = s.engine.samples;
  json["batches"] = s.engine.batches;
  json["seconds"] = s.engine.seconds;
  json["skipped"] = s.skipped;
  if (s.training) {
    const TrainingSummary& t = *s.training;
    json["training"] = {{"steps", t.steps},
                        {"batch_size", t.global_batch},
                        {"first_loss", t.first_loss},
                        {"last_loss", t.last_loss},
                        {"median_step_seconds", t.step_seconds},
                        {"wait_seconds", t.wait_seconds},
                        {"first_batch_seconds", t.first_batch_seconds},
                        {"samples_per_second", t.samples_per_second},
                        {"gflops", t.gflops},
                        {"first_evaluation", to_json(t.first_evaluation)},
                        {"last_evaluation", to_json(t.last_evaluation)}};
  }
  json["ingest"] = {{"peak_samples", s.engine.peak_items}, {"peak_bytes", s.engine.peak_bytes}};
  ordered_json memory = ordered_json::object();
  for (std::size_t k = 0; k < kMemoryKinds; ++k) {
    memory[std::string(name_of(static_cast<MemoryKind>(k)))] = {
        {"predicted_bytes", s.predicted_bytes[k]}, {"peak_bytes", s.measured[k].peak}};
  }
  json["memory"] = memory;
  json["peak_rss_bytes"] = s.peak_rss_bytes;
  ordered_json traffic = ordered_json::object();
  for (std::size_t c = 0; c < ops::kCollectives; ++c) {
    for (std::size_t a = 0; a < ops::kMeshAxes; ++a) {
      for (std::size_t p = 0; p < ops::kPhases; ++p) {
        const ops::Traffic& t = s.traffic[c][a][p];
        if (t.calls == 0) continue;
        traffic[fmt::format("{}.{}.{}", name_of(static_cast<ops::Collective>(c)),
                            name_of(static_cast<ops::MeshAxis>(a)),
                            name_of(static_cast<ops::Phase>(p)))] = {{"calls", t.calls},
                                                                     {"bytes", t.bytes}};
      }
    }
  }
  json["traffic"] = traffic;
  return json.dump(2) + "\n";
}

std::string plan_text(const GraphDefinition& graph, const Plan& plan) {
  std::string text = fmt::format("{} is valid: {} nodes, {} rank{}\n", graph.file,
                                 plan.nodes().size(), graph.ranks(), graph.ranks() > 1 ? "s" : "");
  for (const PlannedNode& node : plan.nodes()) {
    const bool is_end = node.train != nullptr || node.sink != nullptr;
    text += fmt::format("  {:<12} {:<20} {}\n", node.name(), node.definition->type(),
                        is_end ? "" : edge_text(node.info));
  }
  if (const auto model = plan.model(); model != nullptr) {
    text += fmt::format("model: {} parameters, {} tokens of {}, {:.3g} GFLOP a step and rank\n",
                        model->table().count(), model->tokens(), model->dim(),
                        static_cast<double>(model->flops(plan.rank_batch_size())) * 1e-9);
  }
  text +=
      fmt::format("ingest: at most {} samples of {} in flight, {} in all\n", plan.ingest().items,
                  bytes_text(plan.ingest().sample_bytes), bytes_text(plan.ingest().bytes));
  const auto bytes = plan.predicted_bytes();
  text += "memory of a rank:";
  for (std::size_t k = 0; k < kMemoryKinds; ++k) {
    if (bytes[k] > 0) {
      text += fmt::format(" {} {},", name_of(static_cast<MemoryKind>(k)), bytes_text(bytes[k]));
    }
  }
  text += fmt::format(" {} in all\n",
                      bytes_text(std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0})));
  return text;
}

std::string plan_json(const GraphDefinition& graph, const Plan& plan) {
  ordered_json json;
  json["valid"] = true;
  json["ranks"] = graph.ranks();
  ordered_json nodes = ordered_json::array();
  for (const PlannedNode& node : plan.nodes()) {
    ordered_json one{{"name", node.name()}, {"type", node.definition->type()}};
    if (node.train == nullptr && node.sink == nullptr) {
      one["delivers"] = name_of(node.info.kind);
      one["channels"] = node.info.channel_names();
      one["targets"] = node.info.target_names();
      one["extent"] = {node.info.extent.height, node.info.extent.width};
    }
    nodes.push_back(one);
  }
  json["nodes"] = nodes;
  if (const auto model = plan.model(); model != nullptr) {
    json["parameters"] = model->table().count();
    json["flops_per_step_and_rank"] = model->flops(plan.rank_batch_size());
  }
  ordered_json memory = ordered_json::object();
  const auto bytes = plan.predicted_bytes();
  for (std::size_t k = 0; k < kMemoryKinds; ++k) {
    memory[std::string(name_of(static_cast<MemoryKind>(k)))] = bytes[k];
  }
  json["memory_bytes_per_rank"] = memory;
  return json.dump(2) + "\n";
}

}  // namespace trib::pipeline
