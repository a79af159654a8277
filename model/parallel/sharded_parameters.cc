#include "model/parallel/sharded_parameters.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "model/parallel/gradients.h"
#include "ops/base/clear.h"
#include "ops/kernels/activation.h"

namespace trib::model {
namespace {

using ops::MeshAxis;

std::span<float> floats(float* data, std::int64_t count) {
  return {data, static_cast<std::size_t>(count)};
}

void clear_floats(float* data, std::int64_t count) {
  clear(data, count * static_cast<std::int64_t>(sizeof(float)));
}

std::span<BFloat16> bf16s(BFloat16* data, std::int64_t count) {
  return {data, static_cast<std::size_t>(count)};
}

Tensor zeros(std::int64_t count, MemoryKind kind, DType dtype = DType::f32) {
  return count == 0 ? Tensor() : Tensor::zeros({count}, dtype, kind);
}

}  // namespace

ShardedParameters::ShardedParameters(const ParameterTable& table, const TensorGroup& group,
                                     ShardingPlan plan, ops::Communicator& communicator)
    : table_(table),
      group_(group),
      plan_(std::move(plan)),
      communicator_(communicator),
      parameters_(table, *this),
      values_(zeros(plan_.values(), MemoryKind::parameters)),
      gradients_(zeros(plan_.gradients(), MemoryKind::gradients)),
      unreduced_(zeros(plan_.unreduced_gradients(), MemoryKind::gradients)),
      gathers_(table.units().size()),
      is_fresh_(table.units().size()),
      bf16_(zeros(plan_.bf16_values(), MemoryKind::parameters, DType::bf16)),
      is_bf16_stale_(table.units().size(), true) {
  for (std::size_t parity = 0; parity < 2; ++parity) {
    const auto slot = [&](const ShardingPlan::Slots& sizes, DType dtype = DType::f32) {
      return zeros(sizes[parity], MemoryKind::communication, dtype);
    };
    gathered_[parity].buffer = slot(plan_.value_slots());
    computed_[parity].buffer = slot(plan_.gradient_slots());
    bf16_gathered_[parity] = slot(plan_.bf16_slots(), DType::bf16);
    bf16_reduced_[parity].buffer = slot(plan_.reduction_slots(), DType::bf16);
  }
  std::int64_t bf16_begin = 0;
  for (int unit = 0; unit < plan_.layout.units(); ++unit) {
    const std::int64_t begin = plan_.layout.unit_begin(unit);
    if (plan_.has_bf16(unit) && !plan_.shards_values()) {
      parameters_.place_bf16(unit, bf16_.data<BFloat16>() + bf16_begin);
      bf16_begin += plan_.layout.unit_size(unit);
    }
    if (!plan_.shards_values()) parameters_.place_values(unit, values_.data<float>() + begin);
    if (!plan_.has_gradient_slots()) {
      parameters_.place_gradients(unit, unreduced_gradients(unit));
    }
  }
}

float* ShardedParameters::own_values(int unit) {
  const ShardLayout& layout = plan_.layout;
  const std::int64_t at = plan_.shards_values()
                              ? layout.shard_begin(unit)
                              : layout.unit_begin(unit) + layout.rank() * layout.shard_size(unit);
  return values_.data<float>() + at;
}

float* ShardedParameters::own_gradients(int unit) {
  return gradients_.data<float>() + plan_.layout.shard_begin(unit);
}

// Where the backward pass adds up the gradients of a unit.
float* ShardedParameters::unreduced_gradients(int unit) {
  if (plan_.has_gradient_slots()) return slot_of(computed_, unit).buffer.data<float>();
  Tensor& all = plan_.shards_gradients() ? unreduced_ : gradients_;
  return all.data<float>() + plan_.layout.unit_begin(unit);
}

void ShardedParameters::initialize(std::uint64_t seed) {
  for (int unit = 0; unit < plan_.layout.units(); ++unit) {
    if (!plan_.shards_values()) {
      parameters_.initialize_unit(unit, seed);
      continue;
    }
    // Draw the whole unit, keep the own shard.
    Tensor buffer = Tensor::zeros({plan_.layout.unit_size(unit)});
    const std::int64_t shard = plan_.layout.shard_size(unit);
    parameters_.place_values(unit, buffer.data<float>());
    parameters_.initialize_unit(unit, seed);
    parameters_.place_values(unit, nullptr);
    std::copy_n(buffer.data<float>() + plan_.layout.rank() * shard, shard, own_values(unit));
  }
  values_changed();
}

// --- gathering --------------------------------------------------------------------------------

// Have the values of a unit on their way.
void ShardedParameters::gather(int unit) {
  const ShardLayout& layout = plan_.layout;
  const auto number = static_cast<std::size_t>(unit);
  const auto mine = std::as_bytes(std::span(floats(own_values(unit), layout.shard_size(unit))));
  if (plan_.shards_values()) {
    Slot& slot = slot_of(gathered_, unit);
    if (slot.unit == unit) return;
    slot.pending.wait();
    slot.unit = unit;
    if (plan_.gathers_bf16(unit)) {
      BFloat16* const all = slot_of(bf16_gathered_, unit).data<BFloat16>();
      const std::int64_t shard = layout.shard_size(unit);
      BFloat16* const own = all + layout.rank() * shard;
      ops::convert(own, own_values(unit), shard);
      slot.pending =
          communicator_.all_gather(MeshAxis::shard, std::as_bytes(bf16s(own, shard)),
                                   std::as_writable_bytes(bf16s(all, layout.unit_size(unit))));
      return;
    }
    slot.pending = communicator_.all_gather(
        MeshAxis::shard, mine,
        std::as_writable_bytes(floats(slot.buffer.data<float>(), layout.unit_size(unit))));
  } else if (plan_.shards_gradients() && !is_fresh_[number]) {
    is_fresh_[number] = true;
    float* const all = values_.data<float>() + layout.unit_begin(unit);
    gathers_[number] = communicator_.all_gather(
        MeshAxis::shard, mine, std::as_writable_bytes(floats(all, layout.unit_size(unit))));
  }
}

void ShardedParameters::complete_gather(int unit) {
  if (plan_.shards_values()) {
    slot_of(gathered_, unit).pending.wait();
  } else {
    gathers_[static_cast<std::size_t>(unit)].wait();
  }
  if (plan_.shards_values() && !plan_.gathers_bf16(unit)) {
    parameters_.place_values(unit, slot_of(gathered_, unit).buffer.data<float>());
  }
  if (plan_.has_bf16(unit)) make_bf16(unit);
}

// Have the bfloat16 copy of a unit in place whose values have been gathered, in one type or the
// other.
void ShardedParameters::make_bf16(int unit) {
  const std::int64_t size = plan_.layout.unit_size(unit);
  if (!plan_.shards_values()) {
    const auto number = static_cast<std::size_t>(unit);
    if (!is_bf16_stale_[number]) return;
    is_bf16_stale_[number] = false;
    const float* const values = values_.data<float>() + plan_.layout.unit_begin(unit);
    return ops::convert(parameters_.bf16_unit(unit), values, size);
  }
  BFloat16* const copy = slot_of(bf16_gathered_, unit).data<BFloat16>();
  float* const values = slot_of(gathered_, unit).buffer.data<float>();
  if (plan_.gathers_bf16(unit)) {
    for (ParameterId id = table_.unit(unit).first; id < table_.unit(unit).end; ++id) {
      const ParameterSpec& spec = table_.spec(id);
      if (spec.is_operand) continue;
      ops::convert(values + spec.other_offset, copy + spec.offset, spec.local().numel());
    }
    parameters_.place_others(unit, values);
  } else {
    ops::convert(copy, values, size);
  }
  parameters_.place_bf16(unit, copy);
}

void ShardedParameters::enter(int unit, int next, Pass pass) {
  if (unit == unit_ && pass == pass_) return;
  if (unit != unit_) {
    const bool is_post = plan_.prefetch == Prefetch::backward_post && pass_ == Pass::backward;
    const bool has_slot = unit_ < 0 || unit % 2 != unit_ % 2;
    if (is_post && has_slot) gather(unit);
    leave();
    gather(unit);
    complete_gather(unit);
  }
  if (pass == Pass::backward) place_gradients(unit);
  unit_ = unit;
  pass_ = pass;
  const bool prefetches = pass == Pass::forward ? plan_.prefetch != Prefetch::none
                                                : plan_.prefetch == Prefetch::backward_pre;
  // After a segment that was computed again the next unit may be due in the slot in use.
  if (prefetches && next >= 0 && next % 2 != unit % 2) gather(next);
}

// The model is done with the unit it worked on.
void ShardedParameters::leave() {
  const int unit = std::exchange(unit_, -1);
  if (unit < 0) return;
  if (pass_ == Pass::backward && is_reducing_) reduce(unit);
  if (!plan_.shards_values()) return;
  slot_of(gathered_, unit).unit = -1;
  parameters_.place_values(unit, nullptr);
  parameters_.place_bf16(unit, nullptr);
}

// --- reducing ---------------------------------------------------------------------------------

void ShardedParameters::place_gradients(int unit) {
  if (!plan_.has_gradient_slots()) return;
  Slot& slot = slot_of(computed_, unit);
  if (scattered_ >= 0 && scattered_ == slot.unit) settle_scattered();
  slot.unit = unit;
  clear_floats(slot.buffer.data<float>(), plan_.layout.unit_size(unit));
  parameters_.place_gradients(unit, slot.buffer.data<float>());
}

void ShardedParameters::reduce(int unit) {
  reduce_partial_gradients(parameters_, unit, group_);
  if (slot_of(bf16_reduced_, unit).buffer.numel() > 0) return reduce_in_bf16(unit);
  const std::int64_t size = plan_.layout.unit_size(unit);
  if (!plan_.shards_gradients()) {
    reductions_.push_back(
        communicator_.all_reduce_sum(MeshAxis::samples, floats(unreduced_gradients(unit), size)));
    return;
  }
  settle_scattered();
  scattered_ = unit;
  scatter_ =
      communicator_.reduce_scatter_sum(MeshAxis::shard, floats(unreduced_gradients(unit), size),
                                       floats(own_gradients(unit), plan_.layout.shard_size(unit)));
}

// From a rounded copy, so that the gradients' own memory is free at once.
void ShardedParameters::reduce_in_bf16(int unit) {
  settle_bf16(unit);
  Slot& slot = slot_of(bf16_reduced_, unit);
  slot.unit = unit;
  const std::int64_t size = plan_.layout.unit_size(unit);
  BFloat16* const rounded = slot.buffer.data<BFloat16>();
  ops::convert(rounded, unreduced_gradients(unit), size);
  if (plan_.shards_gradients()) {
    slot.pending = communicator_.reduce_scatter_sum(
        MeshAxis::shard, std::span<const BFloat16>(bf16s(rounded, size)),
        bf16s(rounded + size, plan_.layout.shard_size(unit)));
  } else {
    slot.pending = communicator_.all_reduce_sum(MeshAxis::samples, bf16s(rounded, size));
  }
}

// Take the sums out of the slot that `unit` needs.
void ShardedParameters::settle_bf16(int unit) {
  Slot& slot = slot_of(bf16_reduced_, unit);
  const int reduced = std::exchange(slot.unit, -1);
  if (reduced < 0) return;
  slot.pending.wait();
  const BFloat16* const sums = slot.buffer.data<BFloat16>();
  const std::int64_t size = plan_.layout.unit_size(reduced);
  if (!plan_.shards_gradients()) return ops::convert(unreduced_gradients(reduced), sums, size);
  const std::int64_t shard = plan_.layout.shard_size(reduced);
  ops::convert(own_gradients(reduced), sums + size, shard);
  reductions_.push_back(
      communicator_.all_reduce_sum(MeshAxis::data, floats(own_gradients(reduced), shard)));
}

// The shard of the last unit left is complete: add up its replicas.
void ShardedParameters::settle_scattered() {
  const int unit = std::exchange(scattered_, -1);
  if (unit < 0) return;
  scatter_.wait();
  reductions_.push_back(communicator_.all_reduce_sum(
      MeshAxis::data, floats(own_gradients(unit), plan_.layout.shard_size(unit))));
}

void ShardedParameters::begin_step() {
  if (plan_.has_gradient_slots()) return;  // cleared when they are placed
  Tensor& sums = plan_.shards_gradients() ? unreduced_ : gradients_;
  clear_floats(sums.data<float>(), sums.numel());
}

void ShardedParameters::begin_backward(bool is_last) {
  is_reducing_ = is_last;
  const int last = table_.last_unit();
  enter(last, table_.unit(last).next_backward, Pass::backward);
}

void ShardedParameters::finish_backward() {
  leave();
  is_reducing_ = false;
  settle_scattered();
  // The backward pass ended with unit 0.
  settle_bf16(1);
  settle_bf16(0);
  for (const ops::Pending& pending : reductions_) pending.wait();
  reductions_.clear();
}

void ShardedParameters::end_forward() {
  leave();
}

void ShardedParameters::values_changed(bool with_copies) {
  for (Slot& slot : gathered_) {
    slot.pending.wait();
    slot.unit = -1;
  }
  std::fill(is_fresh_.begin(), is_fresh_.end(), false);
  if (with_copies && !plan_.shards_gradients()) return;
  std::fill(is_bf16_stale_.begin(), is_bf16_stale_.end(), true);
}

// --- the whole --------------------------------------------------------------------------------

const std::vector<UnitShard>& ShardedParameters::shards() {
  shards_.clear();
  for (int unit = 0; unit < plan_.layout.units(); ++unit) {
    BFloat16* const copy = plan_.shards_gradients() ? nullptr : parameters_.bf16_unit(unit);
    shards_.push_back({own_values(unit), own_gradients(unit), copy});
  }
  return shards_;
}

double ShardedParameters::gradient_norm() const {
  // Of ranks that hold the same, the first one counts.
  const bool is_first_replica =
      plan_.place.data == 0 && (plan_.shards_gradients() || plan_.place.shard == 0);
  double squares = 0;
  for (const ShardPiece& piece : plan_.layout.pieces()) {
    const bool is_first = table_.spec(piece.id).split.active() || group_.rank() == 0;
    if (!is_first_replica || !is_first) continue;
    squares += ops::sum_of_squares(gradients_.data<float>() + piece.at, piece.elements.size());
  }
  communicator_.all_reduce_sum(MeshAxis::world, std::span<double>(&squares, 1)).wait();
  return std::sqrt(squares);
}

std::vector<StatePiece> ShardedParameters::held_state(AdamW& optimizer) {
  return state_of(plan_.layout.pieces(), optimizer);
}

std::vector<StatePiece> ShardedParameters::written_state(AdamW& optimizer) {
  return state_of(plan_.written_pieces(group_), optimizer);
}

std::vector<StatePiece> ShardedParameters::state_of(const std::vector<ShardPiece>& pieces,
                                                    AdamW& optimizer) {
  std::vector<StatePiece> state;
  for (const ShardPiece& piece : pieces) {
    const int unit = table_.spec(piece.id).unit;
    state.push_back({.id = piece.id,
                     .elements = piece.elements,
                     .value = own_values(unit) + piece.at - plan_.layout.shard_begin(unit),
                     .exp_avg = optimizer.exp_avg().data<float>() + piece.at,
                     .exp_avg_sq = optimizer.exp_avg_sq().data<float>() + piece.at});
  }
  return state;
}

Tensor ShardedParameters::whole_values() {
  return gather_all([this](int unit) { return own_values(unit); });
}

Tensor ShardedParameters::whole_gradients() {
  return gather_all([this](int unit) { return own_gradients(unit); });
}

Tensor ShardedParameters::gather_all(const std::function<const float*(int)>& own) {
  const ShardLayout& layout = plan_.layout;
  Tensor all = Tensor::zeros({layout.whole_size()});
  for (int unit = 0; unit < layout.units(); ++unit) {
    const auto shard = static_cast<std::size_t>(layout.shard_size(unit));
    float* const to = all.data<float>() + layout.unit_begin(unit);
    if (!plan_.shards_gradients()) {
      std::copy_n(own(unit), shard, to);
      continue;
    }
    communicator_
        .all_gather(MeshAxis::shard, std::as_bytes(std::span(own(unit), shard)),
                    std::as_writable_bytes(floats(to, layout.unit_size(unit))))
        .wait();
  }
  return all;
}

}  // namespace trib::model
