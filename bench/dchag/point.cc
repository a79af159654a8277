#include "bench/dchag/point.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "model/parallel/gradients.h"
#include "ops/base/error.h"

namespace trib::bench {
namespace {

constexpr int kTargets = 5;

using enum model::Hierarchy;
using enum model::AggregationKind;

constexpr std::array kModes{
    Mode{"baseline", false, none, cross_attention, 0, false},
    Mode{"tokenization", true, none, cross_attention, 0, false},
    Mode{"dchag_c0", true, dchag, cross_attention, 0, false},
    Mode{"dchag_c2", true, dchag, cross_attention, 2, false},
    Mode{"dchag_c4", true, dchag, cross_attention, 4, false},
    Mode{"dchag_l0", true, dchag, linear, 0, false},
    Mode{"dchag_l2", true, dchag, linear, 2, false},
    Mode{"dchag_l4", true, dchag, linear, 4, false},
    Mode{"fused_baseline", false, none, cross_attention, 0, true},
    Mode{"fused_flat_c", true, none, cross_attention, 0, true},
    Mode{"fused_flat_l", true, none, linear, 0, true},
    Mode{"fused_dchag_c0", true, dchag, cross_attention, 0, true},
    Mode{"fused_dchag_l0", true, dchag, linear, 0, true},
    Mode{"fused_dchag_c4", true, dchag, cross_attention, 4, true},
};

// Bytes of the own images, of channels and of targets.
std::int64_t input_bytes(const Point& point, const model::Model& model) {
  const std::int64_t images = model.own_channels().size() + std::ssize(model.own_targets());
  return 4 * point.batch * images * point.size * point.size;
}

}  // namespace

std::span<const Mode> modes() {
  return kModes;
}

const Mode& mode_of(const Point& point) {
  const auto* const found = std::find_if(kModes.begin(), kModes.end(),
                                         [&](const Mode& mode) { return point.mode == mode.name; });
  if (found == kModes.end()) {
    throw ConfigError(fmt::format("--mode {}: expected one of --list-modes", point.mode));
  }
  return *found;
}

std::unique_ptr<model::Model> make_model(const Point& point, int ranks, int rank) {
  const Mode& mode = mode_of(point);
  model::InputSpec input{.channels = {}, .height = point.size, .width = point.size};
  for (std::int64_t c = 0; c < point.channels; ++c) {
    input.channels.push_back(fmt::format("c{}", c));
  }
  for (int v = 0; v < kTargets; ++v) input.targets.push_back(fmt::format("target{}", v));
  const model::Division division{.ranks = ranks,
                                 .rank = rank,
                                 .distributed = mode.distributed,
                                 .partitions = mode.hierarchy == dchag ? point.partitions : 0};
  auto made = std::make_unique<model::Model>(std::move(input), division);
  made->add_tokenizer({.patch = point.patch, .dim = point.dim});
  made->add_aggregation({.kind = mode.kind,
                         .heads = point.heads,
                         .hierarchy = mode.hierarchy,
                         .tree = mode.tree,
                         .share = true,
                         .fused = mode.fused});
  made->add_encoder({.depth = point.depth, .heads = point.heads, .lead_time = true});
  made->add_forecast_head({.depth = 2});
  return made;
}

// Values, gradients and two moments are as large as each other.
std::int64_t predicted_bytes(const Point& point, const model::Model& model) {
  return model.arena_bytes(point.batch, /*training=*/true) + 4 * 4 * model.table().flat_size() +
         model::partial_gradient_bytes(model.table(), model.group()) + input_bytes(point, model);
}

// What Open MPI takes beside the ledger, measured: a copy of the vector it adds up, another to
// scatter the sums. Only gradients of all tokens are large enough to matter.
std::int64_t mpi_bytes(const Point& point, const model::Model& model) {
  const Mode& mode = mode_of(point);
  if (model.group().is_alone() || mode.fused || mode.hierarchy == dchag) return 0;
  const std::int64_t copies = mode.distributed ? 2 : 1;
  return copies * 4 * point.batch * model.tokens() * point.channels * point.dim;
}

}  // namespace trib::bench
