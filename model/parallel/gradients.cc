#include "model/parallel/gradients.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "model/optimizer.h"
#include "ops/kernels/activation.h"

namespace trib::model {
namespace {

// Smaller gradients travel together, larger ones in place.
constexpr std::int64_t kPacked = 1 << 16;

}  // namespace

void reduce_partial_gradients(Parameters& parameters, const TensorGroup& group) {
  if (group.is_alone()) return;
  struct Piece {
    float* gradient;
    std::int64_t count;
  };
  std::vector<Piece> small;
  std::int64_t packed = 0;
  const auto& specs = parameters.table().specs();
  for (ParameterId id = 0; id < static_cast<ParameterId>(specs.size()); ++id) {
    const ParameterSpec& spec = parameters.table().spec(id);
    if (!spec.partial_gradient) continue;
    const Piece piece{parameters.gradient(id), spec.local().numel()};
    if (piece.count > kPacked) {
      group.all_reduce(piece.gradient, piece.count);
    } else {
      small.push_back(piece);
      packed += piece.count;
    }
  }
  if (small.empty()) return;
  Tensor together = Tensor::empty({packed}, DType::f32, MemoryKind::communication);
  float* at = together.data<float>();
  for (const Piece& piece : small) at = std::copy_n(piece.gradient, piece.count, at);
  group.all_reduce(together.data<float>(), packed);
  const float* from = together.data<float>();
  for (const Piece& piece : small) {
    std::copy_n(from, piece.count, piece.gradient);
    from += piece.count;
  }
}

double gradient_norm(const Parameters& parameters, const TensorGroup& group) {
  if (group.is_alone()) return gradient_norm(parameters);
  double split = 0, replicated = 0;
  const auto& specs = parameters.table().specs();
  for (ParameterId id = 0; id < static_cast<ParameterId>(specs.size()); ++id) {
    const ParameterSpec& spec = parameters.table().spec(id);
    const double squares = ops::sum_of_squares(parameters.gradient(id), spec.local().numel());
    (spec.split.active() ? split : replicated) += squares;
  }
  group.all_reduce(std::span<double>(&split, 1));
  return std::sqrt(split + replicated);
}

}  // namespace trib::model
