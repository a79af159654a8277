// The table of a model's parameters and the flat buffers that hold them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/precision.h"
#include "ops/base/float_ptr.h"
#include "ops/base/split.h"
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
  TensorSplit split = {};       ///< the part this rank holds
  /// Whether a rank's gradient is a part of the sum over the tensor axis, though each holds all.
  bool partial_gradient = false;
  /// Whether it is an operand of matrix products, which read it at the table's precision.
  bool is_operand = false;
  int unit = 0;             ///< filled in by the table
  std::int64_t offset = 0;  ///< first element in the buffer of its unit, filled in by the table
  /// First element in a buffer of those parameters of its unit that products do not read.
  std::int64_t other_offset = 0;

  /// Shape of the part this rank holds.
  Shape local() const { return local_shape(shape, split); }
};

/// Consecutive parameters that one stretch of the forward pass uses, and one of the backward pass:
/// what is gathered, reduced and let go together when parameters are sharded (FSDP's unit).
struct ParameterUnit {
  std::string name;  ///< "blocks.0"
  ParameterId first = 0, end = 0;
  std::int64_t size = 0;    ///< elements, padding included
  bool has_bf16 = false;    ///< whether products read some of it as bfloat16
  std::int64_t others = 0;  ///< elements of what they do not read, padding included
  int next_backward = -1;   ///< unit that the backward pass turns to after this one; -1: none
};

/// Name -> (unit, offset, shape, split) of every parameter of the model, in the order of
/// registration. It lists the same names on every rank; of what another rank holds, the own part is
/// empty. Offsets and sizes of units are multiples of kAlignment elements.
class ParameterTable {
 public:
  static constexpr std::int64_t kAlignment = 16;  ///< a cache line

  explicit ParameterTable(Precision precision = Precision::fp32) : precision_(precision) {}

  /// Of the operands of matrix products.
  Precision precision() const { return precision_; }
  /// What is registered from now on belongs to a new unit. The first parameters are the stem's.
  /// After it the backward pass turns to `next_backward`, if given, else to the unit before.
  void begin_unit(std::string name);
  void begin_unit(std::string name, int next_backward);
  /// Register a parameter. Throws RuntimeError if the name is taken.
  ParameterId add(ParameterSpec spec);
  /// Declare that ranks compute parts of this parameter's gradient.
  void mark_partial_gradient(ParameterId id);
  const std::vector<ParameterSpec>& specs() const { return specs_; }
  const ParameterSpec& spec(ParameterId id) const { return specs_[static_cast<std::size_t>(id)]; }
  const std::vector<ParameterUnit>& units() const { return units_; }
  const ParameterUnit& unit(int number) const { return units_[static_cast<std::size_t>(number)]; }
  /// Number of the last unit begun.
  int last_unit() const { return static_cast<int>(units_.size()) - 1; }
  /// Id of a name, -1 if unknown.
  ParameterId find(std::string_view name) const;
  /// Elements of this rank's parts, padding included.
  std::int64_t flat_size() const;
  /// The same of the units that have bfloat16 copies.
  std::int64_t bf16_size() const;
  /// Number of trainable parameters of the model, over all ranks.
  std::int64_t count() const;

 private:
  Precision precision_;
  std::vector<ParameterSpec> specs_;
  std::vector<ParameterUnit> units_{{.name = "stem"}};
  std::map<std::string, ParameterId, std::less<>> ids_;
};

/// What a model does with the parameters of a unit.
enum class Pass : std::uint8_t { forward, backward };

/// Is told which unit a model is about to use, to have it in place by then.
class UnitVisitor {
 public:
  virtual ~UnitVisitor() = default;
  /// The model turns to `unit` and is done with the one before; `next` follows (-1: not known).
  virtual void enter(int unit, int next, Pass pass) = 0;
};

/// Values and gradients of a table: this rank's parts, one buffer a unit. At bf16, units with
/// operands of products have a bfloat16 copy of their values, laid out alike, which whoever changes
/// values has made anew by values_changed().
class Parameters {
 public:
  /// All units in place, one after another in flat buffers.
  explicit Parameters(const ParameterTable& table, bool with_gradients = true);
  /// No unit in place: `visitor`, which must outlive this, sees to that.
  Parameters(const ParameterTable& table, UnitVisitor& visitor);

  /// Draw initial values of all units, or of one. Padding is zero.
  void initialize(std::uint64_t seed);
  void initialize_unit(int unit, std::uint64_t seed);
  void zero_gradients();
  /// Make the bfloat16 copies of all units in place.
  void values_changed();

  /// To be called by layers before they use a unit; see UnitVisitor.
  void enter(int unit, int next, Pass pass) const {
    if (visitor_ != nullptr) visitor_->enter(unit, next, pass);
  }
  /// Put a unit's values or gradients into place; null: take them away.
  void place_values(int unit, float* values) {
    values_at_[static_cast<std::size_t>(unit)] = values;
    has_others_only_[static_cast<std::size_t>(unit)] = false;
  }
  /// The same without operands of products, which are there in bfloat16 alone.
  void place_others(int unit, float* others) {
    values_at_[static_cast<std::size_t>(unit)] = others;
    has_others_only_[static_cast<std::size_t>(unit)] = true;
  }
  void place_gradients(int unit, float* gradients) {
    gradients_at_[static_cast<std::size_t>(unit)] = gradients;
  }

  /// The bfloat16 copy of a unit, which must be its values rounded.
  void place_bf16(int unit, BFloat16* values) { bf16_at_[static_cast<std::size_t>(unit)] = values; }

  const ParameterTable& table() const { return *table_; }
  /// The bfloat16 copy of a unit; null if there is none.
  BFloat16* bf16_unit(int unit) const { return bf16_at_[static_cast<std::size_t>(unit)]; }
  /// The own part of an operand of products, at the table's precision.
  ConstFloatPtr operand(ParameterId id) const;
  /// The own part of a parameter. Throws RuntimeError if its unit is not in place.
  float* value(ParameterId id);
  const float* value(ParameterId id) const;
  float* gradient(ParameterId id);
  const float* gradient(ParameterId id) const;
  /// Views with the shape of the own part.
  Tensor value_tensor(ParameterId id) const;
  Tensor gradient_tensor(ParameterId id) const;

  /// The flat buffers; undefined where a visitor sees to the units.
  Tensor& flat_values() { return values_; }
  const Tensor& flat_values() const { return values_; }
  Tensor& flat_gradients() { return gradients_; }
  const Tensor& flat_gradients() const { return gradients_; }

 private:
  template <class T>
  T* at(const std::vector<T*>& units, ParameterId id) const;

  const ParameterTable* table_;
  UnitVisitor* visitor_ = nullptr;
  Tensor values_;                                 // MemoryKind::parameters
  Tensor gradients_;                              // MemoryKind::gradients
  Tensor bf16_;                                   // MemoryKind::parameters
  std::vector<float*> values_at_, gradients_at_;  // by unit
  std::vector<BFloat16*> bf16_at_;                // by unit; null without operands
  std::vector<bool> has_others_only_;             // by unit
};

}  // namespace trib::model
