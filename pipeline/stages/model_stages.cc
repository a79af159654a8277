// The stages that build a model: each adds one layer.

#include <charconv>

#include <fmt/format.h>

#include "model/model.h"
#include "ops/base/error.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"

namespace trib::pipeline {
namespace {

/// The model an edge carries; needs the edge to carry one.
model::Model& model_of(const StreamInfo& input) {
  if (input.kind != StreamKind::steps) {
    throw ConfigError(
        fmt::format("needs a model, but its input delivers {}; begin the model with "
                    "'model.tokenize'",
                    name_of(input.kind)));
  }
  return *input.model;
}

ParameterSpec recompute_parameter() {
  return param::string(
             "recompute",
             "What the backward pass runs again instead of keeping it: none, block (of each block "
             "only the input is kept) or every N (only that of each N blocks). Same results, less "
             "memory, more time.")
      .or_else("none");
}

/// Blocks of a segment that is run again, 0 for none.
std::int64_t recompute_of(const ParameterValues& parameters) {
  const std::string& text = parameters.string("recompute");
  if (text == "none") return 0;
  if (text == "block") return 1;
  constexpr std::string_view kEvery = "every ";
  std::int64_t blocks = 0;
  if (text.starts_with(kEvery)) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + kEvery.size(), end, blocks);
    if (error == std::errc() && stop == end && blocks >= 1) return blocks;
  }
  throw ConfigError(
      fmt::format("recompute: expected none, block or every N (N at least 1), found '{}'", text));
}

/// A model stage that is no more than its options.
template <class Options>
class LayerStage : public ModelStage {
 public:
  using AddLayer = void (*)(model::Model&, const StreamInfo&, Options);
  LayerStage(const StageContext& context, Options options, AddLayer add)
      : ModelStage(context), options_(std::move(options)), add_(add) {}

  StreamInfo prepare(const StreamInfo& input) override {
    add_(model_of(input), input, options_);
    return input;
  }

 private:
  Options options_;
  AddLayer add_;
};

// --- model.tokenize ------------------------------------------------------------------------------

StageDeclaration tokenize_declaration() {
  StageDeclaration d;
  d.type = "model.tokenize";
  d.summary = "Turn each channel's patches into tokens, with weights of each channel's own.";
  d.parameters = {
      param::integer("patch", "Side of a square patch; it must divide the image.")
          .unit_is("pixels")
          .at_least(1)
          .or_else(4),
      param::integer("dim", "Length of a token.").at_least(1).or_else(128),
  };
  return d;
}

/// Begins the model: batches in, steps out.
class Tokenize : public ModelStage {
 public:
  explicit Tokenize(const StageContext& context)
      : ModelStage(context),
        precision_(context.precision),
        options_{context.parameters.integer("patch"), context.parameters.integer("dim")} {}

  StreamInfo prepare(const StreamInfo& input) override {
    if (input.kind != StreamKind::batches) {
      throw ConfigError(fmt::format(
          "needs batches, but its input delivers {}; put 'batch' before it", name_of(input.kind)));
    }
    model::InputSpec spec;
    spec.channels = input.channel_names();
    spec.height = input.extent.height;
    spec.width = input.extent.width;
    spec.targets = input.target_names();
    if (input.grid != nullptr) spec.latitudes = input.grid->latitudes;
    StreamInfo info = input;
    info.kind = StreamKind::steps;
    info.model = std::make_shared<model::Model>(std::move(spec), input.division, precision_);
    info.model->add_tokenizer(options_);
    return info;
  }

 private:
  model::Precision precision_;
  model::TokenizerOptions options_;
};

// --- model.aggregate -----------------------------------------------------------------------------

StageDeclaration aggregate_declaration() {
  StageDeclaration d;
  d.type = "model.aggregate";
  d.summary = "Merge the tokens of all channels at a position into one.";
  d.parameters = {
      param::choice("kind", {"cross_attention", "linear"},
                    "Cross-attention of one learned query with the channels, or a learned weighted "
                    "sum.")
          .or_else("cross_attention"),
      param::integer("heads", "Heads of the cross-attention; they must divide the dim.")
          .at_least(1)
          .or_else(4),
      param::choice("channels", {"distributed", "replicated"},
                    "Whether each rank of the tensor axis reads and tokenizes channels of its own, "
                    "or all ranks all of them (tensor parallelism alone).")
          .or_else("distributed"),
      param::choice("hierarchy", {"none", "dchag"},
                    "Merge all channels at once, or each partition of them into a token of its own "
                    "and then those (D-CHAG), which sends one token a rank.")
          .or_else("none"),
      param::integer("partitions",
                     "Partitions of the channels under hierarchy: dchag, a property of the model: "
                     "with the same number, the model is the same function on any number of "
                     "ranks. If left out, one for each rank of the tensor axis.")
          .at_least(1),
      param::integer("tree",
                     "Groups that the channels of a partition are merged in before their tokens "
                     "are; 0: all at once.")
          .at_least(0)
          .or_else(0),
      param::boolean("share", "Whether the groups of a tree share their weights.").or_else(true),
      param::boolean("fused",
                     "Compute from the patches with folded weights, never forming tokens: the same "
                     "function with a fraction of the memory and arithmetic. false: the published "
                     "form, for comparison.")
          .or_else(true),
  };
  return d;
}

class Aggregate : public ModelStage {
 public:
  explicit Aggregate(const StageContext& context)
      : ModelStage(context),
        is_distributed_(context.parameters.string("channels") == "distributed") {
    const ParameterValues& p = context.parameters;
    options_.kind = p.string("kind") == "linear" ? model::AggregationKind::linear
                                                 : model::AggregationKind::cross_attention;
    options_.heads = p.integer("heads");
    options_.hierarchy =
        p.string("hierarchy") == "dchag" ? model::Hierarchy::dchag : model::Hierarchy::none;
    options_.tree = p.integer("tree");
    options_.share = p.boolean("share");
    options_.fused = p.boolean("fused");
    if (!p.has("partitions")) return;
    if (options_.hierarchy == model::Hierarchy::none) {
      throw ConfigError("partitions: are of hierarchy: dchag");
    }
    partitions_ = p.integer("partitions");
  }

  void divide(model::Division& division) const override {
    division.distributed = is_distributed_;
    division.partitions = partitions_;
  }

  StreamInfo prepare(const StreamInfo& input) override {
    model_of(input).add_aggregation(options_);
    return input;
  }

 private:
  bool is_distributed_;
  std::int64_t partitions_ = 0;
  model::AggregationOptions options_;
};

// --- model.encoder -------------------------------------------------------------------------------

StageDeclaration encoder_declaration() {
  StageDeclaration d;
  d.type = "model.encoder";
  d.summary = "Add the position embedding and run pre-norm transformer blocks over the tokens.";
  d.parameters = {
      param::integer("depth", "Number of blocks.").between(0, 10000).or_else(6),
      param::integer("heads", "Attention heads; they must divide the dim.").at_least(1).or_else(4),
      param::number("mlp_ratio", "Width of a block's MLP as a multiple of the dim.")
          .above(0)
          .or_else(4.0),
      param::boolean("lead_time",
                     "Add an embedding of the lead time; if left out, where the data has targets."),
      param::boolean(
          "sequence_parallel",
          "Divide the tokens, too, over the ranks of the tensor axis where a block works "
          "on each alone (norms, sums): less memory, as much traffic.")
          .or_else(false),
      param::number("drop_rate",
                    "Fraction of the elements of the embedded tokens, and of what each attention "
                    "and MLP gives, that is dropped in training.")
          .at_least(0)
          .below(1)
          .or_else(0.0),
      param::number("drop_path_rate",
                    "Fraction of the samples that skip the attention, and the MLP, of the last "
                    "block in training; from 0 in the first block it rises linearly.")
          .at_least(0)
          .below(1)
          .or_else(0.0),
      recompute_parameter(),
  };
  return d;
}

std::unique_ptr<Stage> make_encoder(const StageContext& context) {
  const ParameterValues& p = context.parameters;
  struct Options {
    model::EncoderOptions encoder;
    bool lead_time_given;
  };
  Options options;
  options.encoder.depth = p.integer("depth");
  options.encoder.heads = p.integer("heads");
  options.encoder.mlp_ratio = p.number("mlp_ratio");
  options.encoder.sequence_parallel = p.boolean("sequence_parallel");
  options.encoder.drop_rate = p.number("drop_rate");
  options.encoder.drop_path_rate = p.number("drop_path_rate");
  options.encoder.recompute = recompute_of(p);
  options.lead_time_given = p.has("lead_time");
  if (options.lead_time_given) options.encoder.lead_time = p.boolean("lead_time");
  return std::make_unique<LayerStage<Options>>(
      context, options, [](model::Model& m, const StreamInfo& input, Options o) {
        if (!o.lead_time_given) o.encoder.lead_time = !input.targets.empty();
        m.add_encoder(o.encoder);
      });
}

// --- model.mae_head ------------------------------------------------------------------------------

StageDeclaration mae_head_declaration() {
  StageDeclaration d;
  d.type = "model.mae_head";
  d.summary =
      "Masked autoencoder: hide patches from the encoder, reconstruct their pixels in all "
      "channels, "
      "and give the error as the loss.";
  d.parameters = {
      param::number("mask_ratio", "Fraction of the patches that is hidden.")
          .above(0)
          .below(1)
          .or_else(0.75),
      param::integer("dim", "Length of the decoder's tokens.").at_least(1).or_else(64),
      param::integer("depth", "Number of decoder blocks.").between(0, 10000).or_else(2),
      param::integer("heads", "Attention heads of the decoder; they must divide its dim.")
          .at_least(1)
          .or_else(4),
      param::number("mlp_ratio", "Width of a block's MLP as a multiple of the dim.")
          .above(0)
          .or_else(4.0),
      param::boolean("norm_pix", "Bring each patch of the target to mean 0 and variance 1 first.")
          .or_else(false),
      recompute_parameter(),
  };
  return d;
}

std::unique_ptr<Stage> make_mae_head(const StageContext& context) {
  const ParameterValues& p = context.parameters;
  model::MaeHeadOptions options;
  options.mask_ratio = p.number("mask_ratio");
  options.dim = p.integer("dim");
  options.depth = p.integer("depth");
  options.heads = p.integer("heads");
  options.mlp_ratio = p.number("mlp_ratio");
  options.norm_pix = p.boolean("norm_pix");
  options.recompute = recompute_of(p);
  return std::make_unique<LayerStage<model::MaeHeadOptions>>(
      context, options,
      [](model::Model& m, const StreamInfo&, model::MaeHeadOptions o) { m.add_mae_head(o); });
}

// --- model.forecast_head -------------------------------------------------------------------------

StageDeclaration forecast_head_declaration() {
  StageDeclaration d;
  d.type = "model.forecast_head";
  d.summary = "Predict fields at the lead time, with the latitude-weighted squared error as loss.";
  d.parameters = {
      param::strings("variables", "Targets to predict; all targets of the data if left out."),
      param::integer("depth", "Hidden layers before the prediction.").between(0, 10000).or_else(2),
      param::boolean("latitude_weighted", "Weigh rows by the cosine of their latitude.")
          .or_else(true),
      param::boolean("residual",
                     "Predict the change from the input's field of the same name rather than the "
                     "field itself.")
          .or_else(false),
  };
  return d;
}

std::unique_ptr<Stage> make_forecast_head(const StageContext& context) {
  const ParameterValues& p = context.parameters;
  model::ForecastHeadOptions options;
  if (p.has("variables")) options.variables = p.strings("variables");
  options.depth = p.integer("depth");
  options.latitude_weighted = p.boolean("latitude_weighted");
  options.residual = p.boolean("residual");
  return std::make_unique<LayerStage<model::ForecastHeadOptions>>(
      context, options, [](model::Model& m, const StreamInfo& input, model::ForecastHeadOptions o) {
        if (input.targets.empty()) {
          throw ConfigError("needs targets; set 'lead' on read.netcdf");
        }
        m.add_forecast_head(o);
      });
}

}  // namespace

void register_model_stages(Registry& registry) {
  registry.add(tokenize_declaration(),
               [](const StageContext& context) { return std::make_unique<Tokenize>(context); });
  registry.add(aggregate_declaration(),
               [](const StageContext& context) { return std::make_unique<Aggregate>(context); });
  registry.add(encoder_declaration(), make_encoder);
  registry.add(mae_head_declaration(), make_mae_head);
  registry.add(forecast_head_declaration(), make_forecast_head);
}

}  // namespace trib::pipeline
