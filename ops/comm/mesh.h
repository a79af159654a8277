// The mesh of ranks: which ranks share the channels, the shards and the data of a model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trib::ops {

/// A direction of the mesh along which ranks talk. `samples` is data and shard together: the ranks
/// that have different samples of the same batch; `world` is all of them.
enum class MeshAxis : std::uint8_t { data, shard, tensor, samples, world };
inline constexpr std::size_t kMeshAxes = 5;

std::string_view name_of(MeshAxis axis);

struct MeshCoordinates {
  int data = 0, shard = 0, tensor = 0;
  bool operator==(const MeshCoordinates&) const = default;
};

/// Extents of the mesh. Ranks are numbered with tensor fastest, then shard, then data.
struct MeshShape {
  int data = 1, shard = 1, tensor = 1;

  /// Number of ranks.
  int size() const { return data * shard * tensor; }
  /// Extent along an axis; of `world`, the number of ranks.
  int size(MeshAxis axis) const;
  MeshCoordinates coordinates(int rank) const;
  int rank(const MeshCoordinates& coordinates) const;
  /// Ranks that differ from `rank` along `axis` alone, itself included, ascending.
  std::vector<int> group(MeshAxis axis, int rank) const;
  /// "data 2 x shard 1 x tensor 4"
  std::string to_string() const;

  bool operator==(const MeshShape&) const = default;
};

/// Throw ConfigError unless all extents are positive and their product is `ranks`.
void check_mesh(const MeshShape& mesh, int ranks);

}  // namespace trib::ops
