// A model: a chain of layers over a table of parameters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/parameters.h"
#include "model/step.h"

namespace trib::model {

/// Bytes a layer takes from the step arena for a batch.
struct LayerMemory {
  std::int64_t saved = 0;             ///< kept by forward: for backward and for later layers
  std::int64_t forward_scratch = 0;   ///< largest extra amount while forward runs
  std::int64_t backward_scratch = 0;  ///< largest extra amount while backward runs
  std::int64_t passed_back = 0;       ///< gradients backward leaves to the layer before
};

/// One link of the chain. Layers keep no state of a batch: that lives in the Step, so that several
/// steps may be under way when a model is only applied.
class Layer {
 public:
  virtual ~Layer() = default;
  /// Compute step.x_bnd (or the loss) from what the layers before left in the step.
  virtual void forward(Step& step) const = 0;
  /// Turn step.d_x_bnd by this layer's output into that by its input, add to the gradients.
  virtual void backward(Step& step, Parameters& parameters) const = 0;
  /// A model that is only applied (training false) keeps no more than later layers read.
  virtual LayerMemory memory(std::int64_t batch, bool training) const = 0;
  LayerMemory memory(std::int64_t batch) const { return memory(batch, true); }
  /// Floating-point operations of forward plus backward for a batch (gemm-like ones, 2 a
  /// multiply-add).
  virtual std::int64_t flops(std::int64_t batch) const = 0;
  /// Output tensors by name, for --capture: ("x", step.x_bnd) and the like.
  virtual std::vector<std::pair<std::string, Tensor>> outputs(const Step& step) const = 0;
  int index() const { return index_; }

 private:
  friend class Model;
  int index_ = 0;
};

/// What the data stages promise.
struct InputSpec {
  std::vector<std::string> channels;
  std::int64_t height = 0, width = 0;
  std::vector<std::string> targets = {};  ///< names of the target variables, empty if none
  std::vector<double> latitudes = {};     ///< of the rows, in degrees; empty if unknown
  /// Place of a name among the channels, -1 if it is none of them.
  std::int64_t find_channel(std::string_view name) const;
};

struct TokenizerOptions {
  std::int64_t patch = 4;
  std::int64_t dim = 128;
};

enum class AggregationKind : std::uint8_t { linear, cross_attention };

struct AggregationOptions {
  AggregationKind kind = AggregationKind::cross_attention;
  std::int64_t heads = 4;  ///< of the cross-attention
};

struct EncoderOptions {
  std::int64_t depth = 6;
  std::int64_t heads = 4;
  double mlp_ratio = 4;
  bool lead_time = false;  ///< add Linear(1, D)(lead hours / 100) after the position embedding
};

struct MaeHeadOptions {
  double mask_ratio = 0.75;
  std::int64_t dim = 64;
  std::int64_t depth = 2;
  std::int64_t heads = 4;
  double mlp_ratio = 4;
  bool norm_pix = false;
};

struct ForecastHeadOptions {
  std::int64_t depth = 2;                   ///< hidden Linear + GELU pairs before the last Linear
  std::vector<std::string> variables = {};  ///< subset of the targets; empty: all
  bool latitude_weighted = true;  ///< weigh rows by cos(latitude), where latitudes are known
  /// Predict the change: the prediction is the input channel of the variable's name plus the
  /// output. An untrained model is then close to persistence. Needs the variable among the
  /// channels, normalised alike.
  bool residual = false;
};

struct ModelPlan;

/// Layers are added in the order tokenizer, aggregation, encoder, head; a wrong order, a patch that
/// does not divide the image, heads that do not divide the dim throw ConfigError.
class Model {
 public:
  explicit Model(InputSpec input);
  ~Model();

  Layer& add_tokenizer(const TokenizerOptions& options);
  Layer& add_aggregation(const AggregationOptions& options);
  Layer& add_encoder(const EncoderOptions& options);
  Layer& add_mae_head(const MaeHeadOptions& options);
  Layer& add_forecast_head(const ForecastHeadOptions& options);

  const InputSpec& input() const { return input_; }
  const ParameterTable& table() const { return table_; }
  const std::vector<std::unique_ptr<Layer>>& layers() const { return layers_; }
  /// Whether the chain ends in a head.
  bool has_loss() const;
  /// Variables a forecast head predicts, in order; empty for other heads.
  const std::vector<std::string>& forecast_variables() const { return forecast_variables_; }
  std::int64_t tokens() const;  ///< N
  std::int64_t dim() const;     ///< D

  /// Check the shapes of a step's input and draw its masks; call before the first layer's forward.
  /// The masks are a function of (seed, sample key). Throws ShapeError.
  void begin(Step& step, std::uint64_t seed) const;
  /// All layers in order, then step.loss is set (if a head computes one).
  void forward(Step& step) const;
  /// All layers in reverse, for the gradient of loss_scale * loss; adds to the gradients. Throws
  /// RuntimeError if the step does not train.
  void backward(Step& step, Parameters& parameters, float loss_scale = 1) const;

  /// Peak bytes of the step arena for a batch with targets.
  std::int64_t arena_bytes(std::int64_t batch, bool training) const;
  /// Floating-point operations of a training step.
  std::int64_t flops(std::int64_t batch) const;

 private:
  void require_turn(const char* layer, std::size_t place) const;
  Layer& add(std::unique_ptr<Layer> layer);

  InputSpec input_;
  ParameterTable table_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<std::string> forecast_variables_;
  std::unique_ptr<ModelPlan> plan_;  // what layers know of each other
};

}  // namespace trib::model
