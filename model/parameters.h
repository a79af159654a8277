// The table of a model's parameters and the flat buffers that hold them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/parallel/split.h"
#include "ops/base/tensor.h"

namespace trib::model {

/// How initial values are drawn; each is a function of (seed, parameter name, global index).
enum class Init : std::uint8_t {
  zeros,
  ones,
  truncated_normal,  ///< std 0.02, cut at two standard deviations
  normal,            ///< std 0.02
  /// Bound sqrt(6 / (in + out)); shape [out, in], or [stack, out, in...] from rank 3 up (one
  /// patch embedding a channel).
  xavier_uniform,
  average,    ///< 1 / last extent: a Linear that starts as the mean of its inputs
  sincos_1d,  ///< shape [1, positions, dim]
  sincos_2d,  ///< shape [1, grid_h * grid_w, dim]; needs grid_width
};

using ParameterId = int;

/// One row of the table.
struct ParameterSpec {
  std::string name;  ///< timm / MAE / ClimaX name: "blocks.0.attn.qkv.weight"
  Shape shape;       ///< global shape
  Init init = Init::zeros;
  bool decay = true;            ///< whether AdamW decays it
  bool trainable = true;        ///< false for fixed embeddings
  std::int64_t grid_width = 0;  ///< for sincos_2d
  Split split = {};             ///< the part this rank holds
  /// Whether a rank's gradient is a part of the sum over the tensor axis, though each holds all.
  bool partial_gradient = false;
  std::int64_t offset = 0;  ///< first element in the flat buffers, filled in by the table

  /// Shape of the part this rank holds.
  Shape local() const { return local_shape(shape, split); }
};

/// Name -> (offset, shape, split) of every parameter of the model, in the order of registration. It
/// lists the same names on every rank; of what another rank holds, the own part is empty. Offsets
/// are multiples of 16 elements.
class ParameterTable {
 public:
  /// Register a parameter. Throws RuntimeError if the name is taken.
  ParameterId add(ParameterSpec spec);
  /// Declare that ranks compute parts of this parameter's gradient.
  void mark_partial_gradient(ParameterId id);
  const std::vector<ParameterSpec>& specs() const { return specs_; }
  const ParameterSpec& spec(ParameterId id) const { return specs_[static_cast<std::size_t>(id)]; }
  /// Id of a name, -1 if unknown.
  ParameterId find(std::string_view name) const;
  /// Elements of this rank's flat buffers, padding included.
  std::int64_t flat_size() const { return flat_size_; }
  /// Number of trainable parameters of the model, over all ranks.
  std::int64_t count() const;

 private:
  std::vector<ParameterSpec> specs_;
  std::map<std::string, ParameterId, std::less<>> ids_;
  std::int64_t flat_size_ = 0;
};

/// Values and gradients of a table, each one flat buffer with this rank's parts.
class Parameters {
 public:
  explicit Parameters(const ParameterTable& table, bool with_gradients = true);

  /// Draw initial values. Padding is zero.
  void initialize(std::uint64_t seed);
  void zero_gradients();

  const ParameterTable& table() const { return *table_; }
  float* value(ParameterId id);
  const float* value(ParameterId id) const;
  float* gradient(ParameterId id);
  const float* gradient(ParameterId id) const;
  /// Views with the shape of the own part.
  Tensor value_tensor(ParameterId id) const;
  Tensor gradient_tensor(ParameterId id) const;

  bool has_gradients() const { return gradients_.defined(); }
  Tensor& flat_values() { return values_; }
  const Tensor& flat_values() const { return values_; }
  Tensor& flat_gradients() { return gradients_; }
  const Tensor& flat_gradients() const { return gradients_; }

 private:
  const ParameterTable* table_;
  Tensor values_;     // MemoryKind::parameters
  Tensor gradients_;  // MemoryKind::gradients
};

}  // namespace trib::model
