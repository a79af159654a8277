#include <fmt/format.h>

#include "model/model.h"
#include "ops/base/error.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "train";
  d.summary = "Train the model: backward pass, reduction over the ranks, update of the weights.";
  d.parameters = {
      param::integer("steps", "Number of updates.").at_least(1).mandatory(),
      param::choice("optimizer", {"adamw"}, "AdamW with decoupled weight decay.").or_else("adamw"),
      param::number("lr", "Learning rate after the warm-up.").above(0).or_else(1e-3),
      param::integer("warmup_steps", "Steps over which the learning rate rises linearly.")
          .at_least(0)
          .or_else(0),
      param::number("start_lr", "Learning rate of the first step of a warm-up.")
          .at_least(0)
          .or_else(1e-8),
      param::number("min_lr", "Learning rate at the end of the half cosine.")
          .at_least(0)
          .or_else(1e-8),
      param::numbers("betas", "Decay rates of AdamW's two moments.")
          .at_least(0)
          .below(1)
          .or_else("[0.9, 0.95]"),
      param::number("eps", "Term that keeps AdamW's denominator from zero.").above(0).or_else(1e-8),
      param::number("weight_decay",
                    "Decay of matrices; biases, norms, embeddings and queries do not decay.")
          .at_least(0)
          .or_else(0.05),
      param::number("clip_norm",
                    "Largest norm of the gradient; larger ones are scaled down. 0: off.")
          .at_least(0)
          .or_else(1.0),
      param::choice(
          "sharding", {"none", "grad_op", "full", "hybrid"},
          "What the ranks of the mesh's shard axis share: nothing (all gradients are "
          "summed), gradients and optimizer state (ZeRO-2), or parameters too (ZeRO-3). "
          "hybrid is full on a mesh with a data axis too, over which shards are replicated.")
          .or_else("full"),
      param::choice("prefetch", {"none", "backward_pre", "backward_post"},
                    "When the parameters of the next block are gathered: when they are needed, or "
                    "ahead, before or after the backward pass of the present one.")
          .or_else("backward_pre"),
      param::integer("accumulate",
                     "Micro-batches that a rank's share of a batch is worked on in; their "
                     "gradients are added up and reduced once.")
          .at_least(1)
          .or_else(1),
      param::choice(
          "collectives", {"fp32", "bf16"},
          "Numbers in which gradients are added up over the ranks that share them and, with "
          "precision: bf16 and sharding: full, parameters are gathered. bf16 halves that "
          "traffic and rounds.")
          .or_else("fp32"),
      param::integer("evaluate_every",
                     "Steps between evaluations on held-out samples, which also come before the "
                     "first and after the last step. 0: never.")
          .at_least(0)
          .or_else(0),
      param::integer("evaluate_samples", "Held-out samples of an evaluation, over all ranks.")
          .at_least(1)
          .or_else(64),
  };
  return d;
}

class Train : public TrainStage {
 public:
  explicit Train(const StageContext& context) : TrainStage(context) {
    const ParameterValues& p = context.parameters;
    plan_.node = context.node;
    plan_.steps = p.integer("steps");
    plan_.lr = p.number("lr");
    plan_.warmup_steps = p.integer("warmup_steps");
    plan_.start_lr = p.number("start_lr");
    plan_.min_lr = p.number("min_lr");
    const std::vector<double>& betas = p.numbers("betas");
    if (betas.size() != 2) {
      throw ConfigError(fmt::format("betas: expected two numbers, found {}", betas.size()));
    }
    plan_.beta1 = betas[0];
    plan_.beta2 = betas[1];
    plan_.eps = p.number("eps");
    plan_.weight_decay = p.number("weight_decay");
    plan_.clip_norm = p.number("clip_norm");
    plan_.evaluate_every = p.integer("evaluate_every");
    plan_.evaluate_samples = p.integer("evaluate_samples");
    read_sharding(p);
    if (plan_.warmup_steps > plan_.steps) {
      throw ConfigError(
          fmt::format("warmup_steps {} is more than steps {}", plan_.warmup_steps, plan_.steps));
    }
    if (plan_.evaluate_every > 0 && plan_.evaluate_samples % context.data_ranks != 0) {
      throw ConfigError(
          fmt::format("evaluate_samples {} cannot be split evenly over {} ranks that "
                      "share the data",
                      plan_.evaluate_samples, context.data_ranks));
    }
  }

  std::int64_t micro_batches() const override { return plan_.sharding.accumulate; }

  TrainingPlan prepare(const StreamInfo& input) override {
    if (!input.model->has_loss()) {
      throw ConfigError("the model has no loss; end it with a head such as 'model.mae_head'");
    }
    return plan_;
  }

 private:
  void read_sharding(const ParameterValues& p) {
    using Strategy = model::ShardingStrategy;
    const std::string& strategy = p.string("sharding");
    plan_.sharding.strategy = strategy == "none"      ? Strategy::none
                              : strategy == "grad_op" ? Strategy::grad_op
                              : strategy == "hybrid"  ? Strategy::hybrid
                                                      : Strategy::full;
    const std::string& prefetch = p.string("prefetch");
    plan_.sharding.prefetch = prefetch == "none"            ? model::Prefetch::none
                              : prefetch == "backward_post" ? model::Prefetch::backward_post
                                                            : model::Prefetch::backward_pre;
    plan_.sharding.accumulate = p.integer("accumulate");
    plan_.sharding.collectives =
        p.string("collectives") == "bf16" ? model::Precision::bf16 : model::Precision::fp32;
  }

  TrainingPlan plan_;
};

}  // namespace

void register_train(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<Train>(context); });
}

}  // namespace trib::pipeline
