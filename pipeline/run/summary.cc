#include "pipeline/run/summary.h"

#include <algorithm>
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
  if (t.last_evaluation.empty()) return {};
  const double last = t.last_evaluation.front().second;
  std::string text = fmt::format("evaluation loss {:.4g}\n", last);
  if (!t.first_evaluation.empty()) {  // a resumed training has none
    const double first = t.first_evaluation.front().second;
    text = fmt::format("evaluation loss {:.4g} -> {:.4g} ({:.1f} %)\n", first, last,
                       100 * last / first);
  }
  constexpr std::string_view kPrefix = "eval_rmse_";
  for (std::size_t i = 1; i + 1 < t.last_evaluation.size(); i += 2) {
    const auto& [name, rmse] = t.last_evaluation[i];
    text += fmt::format("  RMSE of {:<8} {:>10.4g}, of persistence {:>10.4g}\n",
                        name.substr(kPrefix.size()), rmse, t.last_evaluation[i + 1].second);
  }
  return text;
}

std::string reading_text(const RunSummary& s) {
  if (s.decoded_bytes() == 0) return {};
  std::string text = fmt::format("reading: {} decoded", bytes_text(s.decoded_bytes()));
  if (s.all_ranks.size() > 1) {
    const auto [least, most] = std::minmax_element(s.all_ranks.begin(), s.all_ranks.end(),
                                                   [](const RankSummary& a, const RankSummary& b) {
                                                     return a.decoded_bytes < b.decoded_bytes;
                                                   });
    text += fmt::format(" by all ranks, {} to {} a rank", bytes_text(least->decoded_bytes),
                        bytes_text(most->decoded_bytes));
  }
  return text + "\n";
}

std::string memory_text(const RunSummary& s) {
  const RankSummary& rank = s.fullest();
  const std::string title =
      s.all_ranks.size() == 1 ? "memory of a rank"
                              : fmt::format("memory of a rank (largest of {})", s.all_ranks.size());
  std::string text = fmt::format("{:<17} predicted       peak\n", title);
  const std::size_t width = std::max<std::size_t>(title.size(), 17) - 2;
  for (std::size_t k = 0; k < kMemoryKinds; ++k) {
    if (rank.predicted_bytes[k] == 0 && rank.peak_bytes[k] == 0) continue;
    text += fmt::format("  {:<{}} {:>9} {:>10}\n", name_of(static_cast<MemoryKind>(k)), width,
                        bytes_text(rank.predicted_bytes[k]), bytes_text(rank.peak_bytes[k]));
  }
  return text + fmt::format("  {:<{}} {:>9} {:>10}\n", "resident", width, "",
                            bytes_text(rank.peak_rss_bytes));
}

// Call visit(collective, axis, phase, traffic) for all that was sent.
template <class Visit>
void for_each_traffic(const ops::TrafficLedger::Snapshot& traffic, Visit&& visit) {
  for (std::size_t c = 0; c < ops::kCollectives; ++c) {
    for (std::size_t a = 0; a < ops::kMeshAxes; ++a) {
      for (std::size_t p = 0; p < ops::kPhases; ++p) {
        if (traffic[c][a][p].calls == 0) continue;
        visit(static_cast<ops::Collective>(c), static_cast<ops::MeshAxis>(a),
              static_cast<ops::Phase>(p), traffic[c][a][p]);
      }
    }
  }
}

// Without the phase `setup`, which is no part of a step.
std::string traffic_text(const RunSummary& s) {
  if (s.steps == 0) return {};
  const auto steps = static_cast<double>(s.steps);
  std::string rows;
  for_each_traffic(s.traffic, [&](ops::Collective collective, ops::MeshAxis axis, ops::Phase phase,
                                  const ops::Traffic& traffic) {
    if (phase == ops::Phase::setup) return;
    rows += fmt::format("  {:<14} {:<6} {:<9} {:>7.4g} {:>10}\n", name_of(collective),
                        name_of(axis), name_of(phase), static_cast<double>(traffic.calls) / steps,
                        format_bytes(static_cast<double>(traffic.bytes) / steps));
  });
  if (rows.empty()) return {};
  return fmt::format("{:<33} {:>7} {:>10}\n", "sent a step and rank", "calls", "bytes") + rows;
}

ordered_json to_json(const RankSummary& rank) {
  ordered_json memory = ordered_json::object();
  for (std::size_t k = 0; k < kMemoryKinds; ++k) {
    memory[std::string(name_of(static_cast<MemoryKind>(k)))] = {
        {"predicted_bytes", rank.predicted_bytes[k]}, {"peak_bytes", rank.peak_bytes[k]}};
  }
  return {{"mesh", {{"data", rank.data}, {"shard", rank.shard}, {"tensor", rank.tensor}}},
          {"memory", memory},
          {"peak_rss_bytes", rank.peak_rss_bytes},
          {"skipped", rank.skipped},
          {"decoded_bytes", rank.decoded_bytes}};
}

}  // namespace

const RankSummary& RunSummary::fullest() const {
  const auto bytes = [](const RankSummary& rank) {
    return std::accumulate(rank.peak_bytes.begin(), rank.peak_bytes.end(), std::int64_t{0});
  };
  return *std::max_element(
      all_ranks.begin(), all_ranks.end(),
      [&](const RankSummary& a, const RankSummary& b) { return bytes(a) < bytes(b); });
}

std::int64_t RunSummary::skipped() const {
  return std::accumulate(all_ranks.begin(), all_ranks.end(), std::int64_t{0},
                         [](std::int64_t sum, const RankSummary& rank) {
                           return sum + (rank.tensor == 0 ? rank.skipped : 0);
                         });
}

std::int64_t RunSummary::decoded_bytes() const {
  return std::accumulate(
      all_ranks.begin(), all_ranks.end(), std::int64_t{0},
      [](std::int64_t sum, const RankSummary& rank) { return sum + rank.decoded_bytes; });
}

std::string summary_text(const RunSummary& s) {
  std::string text;
  if (s.training) {
    const TrainingSummary& t = *s.training;
    if (t.resumed_after > 0) text += fmt::format("resumed after step {}\n", t.resumed_after);
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
  text += reading_text(s);
  text += memory_text(s);
  text += traffic_text(s);
  if (s.skipped() > 0) text += fmt::format("{} images skipped, see skipped.jsonl\n", s.skipped());
  text += fmt::format("results in {}", s.folder);
  return text;
}

std::string summary_json(const RunSummary& s) {
  ordered_json json;
  json["ranks"] = s.ranks;
  json["samples"] = s.engine.samples;
  json["batches"] = s.engine.batches;
  json["seconds"] = s.engine.seconds;
  json["skipped"] = s.skipped();
  json["decoded_bytes"] = s.decoded_bytes();
  if (s.training) {
    const TrainingSummary& t = *s.training;
    json["training"] = {{"resumed_after", t.resumed_after},
                        {"steps", t.steps},
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
  const ordered_json fullest = to_json(s.fullest());
  json["memory"] = fullest["memory"];
  json["peak_rss_bytes"] = fullest["peak_rss_bytes"];
  ordered_json ranks = ordered_json::array();
  for (const RankSummary& rank : s.all_ranks) ranks.push_back(to_json(rank));
  json["ranks_detail"] = ranks;
  ordered_json traffic = ordered_json::object();
  for_each_traffic(s.traffic, [&](ops::Collective collective, ops::MeshAxis axis, ops::Phase phase,
                                  const ops::Traffic& t) {
    traffic[fmt::format("{}.{}.{}", name_of(collective), name_of(axis), name_of(phase))] = {
        {"calls", t.calls}, {"bytes", t.bytes}};
  });
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
  json["compute_threads"] = plan.options().compute_threads;
  ordered_json memory = ordered_json::object();
  const auto bytes = plan.predicted_bytes();
  for (std::size_t k = 0; k < kMemoryKinds; ++k) {
    memory[std::string(name_of(static_cast<MemoryKind>(k)))] = bytes[k];
  }
  json["memory_bytes_per_rank"] = memory;
  return json.dump(2) + "\n";
}

}  // namespace trib::pipeline
