// How the flat buffers of a model's units are cut into shards.
#pragma once

#include <cstdint>
#include <vector>

#include "model/parameters.h"

namespace trib::model {

/// A run of elements of one parameter that stands in a shard.
struct ShardPiece {
  ParameterId id = 0;
  Range elements;       ///< of the parameter's part on this rank of the tensor axis, flat
  std::int64_t at = 0;  ///< first of them in the buffer of the own shards
};

/// Each unit, padded, is cut into as many equal consecutive shards as there are ranks (FSDP's flat
/// parameter). Counts are of elements. One rank has everything: its shards are the flat buffers.
class ShardLayout {
 public:
  explicit ShardLayout(const ParameterTable& table, int ranks = 1, int rank = 0);

  const ParameterTable& table() const { return *table_; }
  int ranks() const { return ranks_; }
  int rank() const { return rank_; }
  int units() const { return static_cast<int>(unit_begins_.size()) - 1; }

  /// A unit with its padding, and its place in a buffer of all units.
  std::int64_t unit_size(int unit) const { return unit_begin(unit + 1) - unit_begin(unit); }
  std::int64_t unit_begin(int unit) const { return unit_begins_[static_cast<std::size_t>(unit)]; }
  std::int64_t whole_size() const { return unit_begins_.back(); }

  /// The own shard of a unit, and its place in a buffer of all own shards.
  std::int64_t shard_size(int unit) const { return unit_size(unit) / ranks_; }
  std::int64_t shard_begin(int unit) const { return unit_begin(unit) / ranks_; }
  std::int64_t own_size() const { return whole_size() / ranks_; }

  /// What the own shards hold, in order.
  const std::vector<ShardPiece>& pieces() const { return pieces_; }

 private:
  const ParameterTable* table_;
  int ranks_, rank_;
  std::vector<std::int64_t> unit_begins_;  // and the end of the last
  std::vector<ShardPiece> pieces_;
};

}  // namespace trib::model
