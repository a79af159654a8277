#include "ops/comm/mesh.h"

#include <array>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::ops {

std::string_view name_of(MeshAxis axis) {
  constexpr std::array<std::string_view, kMeshAxes> kNames{"data", "shard", "tensor", "samples",
                                                           "world"};
  return kNames[static_cast<std::size_t>(axis)];
}

int MeshShape::size(MeshAxis axis) const {
  switch (axis) {
    case MeshAxis::data:
      return data;
    case MeshAxis::shard:
      return shard;
    case MeshAxis::tensor:
      return tensor;
    case MeshAxis::samples:
      return data * shard;
    case MeshAxis::world:
      break;
  }
  return size();
}

MeshCoordinates MeshShape::coordinates(int rank) const {
  return {rank / (tensor * shard), rank / tensor % shard, rank % tensor};
}

int MeshShape::rank(const MeshCoordinates& at) const {
  return (at.data * shard + at.shard) * tensor + at.tensor;
}

std::vector<int> MeshShape::group(MeshAxis axis, int rank) const {
  int first = 0, stride = 1;
  if (axis != MeshAxis::world) {
    MeshCoordinates origin = coordinates(rank);
    if (axis == MeshAxis::data || axis == MeshAxis::samples) origin.data = 0;
    if (axis == MeshAxis::shard || axis == MeshAxis::samples) origin.shard = 0;
    if (axis == MeshAxis::tensor) origin.tensor = 0;
    first = this->rank(origin);
    if (axis == MeshAxis::shard || axis == MeshAxis::samples) stride = tensor;
    if (axis == MeshAxis::data) stride = tensor * shard;
  }
  std::vector<int> ranks;
  for (int i = 0; i < size(axis); ++i) ranks.push_back(first + i * stride);
  return ranks;
}

std::string MeshShape::to_string() const {
  return fmt::format("data {} x shard {} x tensor {}", data, shard, tensor);
}

void check_mesh(const MeshShape& mesh, int ranks) {
  if (mesh.data < 1 || mesh.shard < 1 || mesh.tensor < 1) {
    throw ConfigError(fmt::format("mesh: extents must be positive, found {}", mesh.to_string()));
  }
  if (mesh.size() != ranks) {
    throw ConfigError(fmt::format("mesh: {} needs {} ranks, the program runs on {}",
                                  mesh.to_string(), mesh.size(), ranks));
  }
}

}  // namespace trib::ops
