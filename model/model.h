// A model: a chain of layers over a table of parameters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/parallel/division.h"
#include "model/parallel/tensor_group.h"
#include "model/parameters.h"
#include "model/step.h"

namespace trib::model {

/// Bytes a layer takes from the step arena for a batch.
struct LayerMemory {
  std::int64_t throughout = 0;        ///< taken by begin: what others may read until the step ends
  std::int64_t saved = 0;             ///< kept by forward: for backward and for later layers
  std::int64_t forward_scratch = 0;   ///< largest extra amount while forward runs
  std::int64_t backward_scratch = 0;  ///< largest extra amount while backward runs
  std::int64_t passed_back = 0;       ///< gradients backward leaves to the layer before
  std::int64_t released = 0;          ///< of what is saved, no longer held after backward
};

/// A tensor on an edge of the model.
struct Output {
  std::string name;
  Tensor tensor;            ///< this rank's part
  std::int64_t extent = 0;  ///< of the split axis over all ranks
  TensorSplit split = {};   ///< inactive: every rank has all of it
};

/// One link of the chain. Layers keep no state of a batch: that lives in the Step, so that several
/// steps may be under way when a model is only applied.
class Layer {
 public:
  virtual ~Layer() = default;
  /// Called for all layers before the first forward: for memory that must outlast the backward
  /// pass.
  virtual void begin(Step& /*step*/) const {}
  /// Compute step.x_bnd (or the loss) from what the layers before left in the step.
  virtual void forward(Step& step) const = 0;
  /// Turn step.d_x_bnd by this layer's output into that by its input, add to the gradients.
  virtual void backward(Step& step, Parameters& parameters) const = 0;
  /// A model that is only applied (training false) keeps no more than later layers read.
  virtual LayerMemory memory(std::int64_t batch, bool training) const = 0;
  LayerMemory memory(std::int64_t batch) const { return memory(batch, true); }
  /// Floating-point operations of forward plus backward for a batch (gemm-like ones, 2 a
  /// multiply-add). Useful ones alone, as for a model's utilisation of flops (MFU): what is
  /// computed again in backward (EncoderOptions::recompute) does not count.
  virtual std::int64_t flops(std::int64_t batch) const = 0;
  /// Output tensors, for --capture.
  virtual std::vector<Output> outputs(const Step& step) const = 0;
  int index() const { return index_; }

 private:
  friend class Model;
  int index_ = 0;
};

/// What the data stages promise, over all ranks.
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

/// Whether all channels are merged at once, or each partition of them first (D-CHAG).
enum class Hierarchy : std::uint8_t { none, dchag };

struct AggregationOptions {
  AggregationKind kind = AggregationKind::cross_attention;
  std::int64_t heads = 4;  ///< of the cross-attention
  Hierarchy hierarchy = Hierarchy::none;
  /// Groups that the channels of a partition are merged in before their tokens are; 0: all at once.
  std::int64_t tree = 0;
  /// Whether the groups of a tree share their weights: of the linear kind among themselves, of the
  /// cross-attention with the merge of their tokens too.
  bool share = true;
  /// Compute from patches and folded weights: the same function, without tokens.
  bool fused = true;
};

struct EncoderOptions {
  std::int64_t depth = 6;
  std::int64_t heads = 4;
  double mlp_ratio = 4;
  bool lead_time = false;  ///< add Linear(1, D)(lead hours / 100) after the position embedding
  /// Divide tokens over the tensor axis where the heads are not (see TransformerOptions).
  bool sequence_parallel = false;
  /// In training: the fraction dropped of the elements of the embedded tokens and of what each
  /// attention and MLP gives.
  double drop_rate = 0;
  /// In training: the fraction of samples that skip the last block's attention, and its MLP; from 0
  /// in the first block it rises linearly.
  double drop_path_rate = 0;
  /// Blocks of a segment of which only the input is kept in training (see TransformerOptions); 0:
  /// all is kept.
  std::int64_t recompute = 0;
};

struct MaeHeadOptions {
  double mask_ratio = 0.75;
  std::int64_t dim = 64;
  std::int64_t depth = 2;
  std::int64_t heads = 4;
  double mlp_ratio = 4;
  bool norm_pix = false;
  std::int64_t recompute = 0;  ///< of the decoder's blocks, as EncoderOptions::recompute
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
///
/// A model may be divided over the ranks of the tensor axis: each holds parts of the parameters and
/// works on channels, attention heads and hidden dims of its own. It is the same function, of the
/// same initial weights, however it is divided.
class Model {
 public:
  /// Throws ConfigError for a division that the channels do not allow.
  explicit Model(InputSpec input, const Division& division = {},
                 Precision precision = Precision::fp32);
  ~Model();

  /// Give a divided model its line to the other ranks, before the first step.
  void connect(ops::Communicator& communicator);

  Layer& add_tokenizer(const TokenizerOptions& options);
  Layer& add_aggregation(const AggregationOptions& options);
  Layer& add_encoder(const EncoderOptions& options);
  Layer& add_mae_head(const MaeHeadOptions& options);
  Layer& add_forecast_head(const ForecastHeadOptions& options);

  const InputSpec& input() const { return input_; }
  /// The tensor axis, and what this rank works on.
  const TensorGroup& group() const;
  /// Whether other ranks work on other channels and targets.
  bool divides_channels() const;
  Range own_channels() const;
  const std::vector<std::int64_t>& own_targets() const;
  /// The input as this rank sees it: own channels, own targets.
  InputSpec own_input() const;
  const ParameterTable& table() const { return table_; }
  const std::vector<std::unique_ptr<Layer>>& layers() const { return layers_; }
  /// Whether the chain ends in a head.
  bool has_loss() const;
  /// Variables a forecast head predicts, in order; empty for other heads.
  const std::vector<std::string>& forecast_variables() const { return forecast_variables_; }
  /// Those of them that this rank predicts.
  std::vector<std::string> own_forecast_variables() const;
  std::int64_t tokens() const;  ///< N
  std::int64_t dim() const;     ///< D

  /// Whether the head predicts the images of the input: that of a masked autoencoder without
  /// norm_pix.
  bool reconstructs() const { return reconstructs_; }
  /// Write what a step predicts of its images to [b, own channels, h, w], normalised as they are.
  void write_reconstruction(const Step& step, float* x_bchw) const;

  /// Check the shapes of a step's input and draw its masks; call before the first layer's forward.
  /// The masks, and what is dropped, are a function of (seed, sample key). Throws ShapeError.
  void begin(Step& step, std::uint64_t seed) const;
  /// All layers in order, then step.loss is set (if a head computes one).
  void forward(Step& step) const;
  /// All layers in reverse, for the gradient of loss_scale * loss; adds to the gradients. Throws
  /// RuntimeError if the step does not train.
  void backward(Step& step, Parameters& parameters, float loss_scale = 1) const;

  /// Peak bytes of the step arena for a batch with targets.
  std::int64_t arena_bytes(std::int64_t batch, bool training) const;
  /// Useful floating-point operations of a training step (see Layer::flops).
  std::int64_t flops(std::int64_t batch) const;

 private:
  void require_turn(const char* layer, std::size_t place) const;
  Layer& add(std::unique_ptr<Layer> layer);

  InputSpec input_;
  ParameterTable table_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<std::string> forecast_variables_;
  bool reconstructs_ = false;
  std::unique_ptr<ModelPlan> plan_;  // what layers know of each other
};

}  // namespace trib::model
