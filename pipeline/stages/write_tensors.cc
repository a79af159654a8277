#include <cmath>
#include <filesystem>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"
#include "model/model.h"
#include "ops/base/error.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "write.tensors";
  d.summary = "Write samples, batches or a model's output to safetensors files.";
  d.parameters = {
      param::string("directory",
                    "Where the files go; a relative path is below the run folder, tensors/NODE if "
                    "left empty.")
          .or_else(""),
      param::integer("count", "Samples, batches or steps to write; 0: all.").at_least(0).or_else(0),
  };
  return d;
}

nlohmann::json record_of(const io::Provenance& provenance, const SampleRequest& request) {
  nlohmann::json json;
  json["file"] = provenance.file;
  const io::Window& w = provenance.window;
  json["window"] = {w.y, w.x, w.height, w.width};
  json["position"] = request.position;
  json["epoch"] = request.epoch;
  if (!std::isnan(provenance.time)) json["time"] = provenance.time;
  if (provenance.label >= 0) json["label"] = provenance.label;
  return json;
}

class WriteTensors : public SinkStage {
 public:
  explicit WriteTensors(const StageContext& context)
      : SinkStage(context),
        directory_(context.parameters.string("directory")),
        wanted_(context.parameters.integer("count")),
        rank_(context.world_rank()),
        shares_samples_(context.tensor_rank > 0) {
    if (directory_.empty()) directory_ = "tensors/" + context.node;
  }

  void prepare(const StreamInfo& input, const std::string& /*input_node*/) override {
    channels_ = nlohmann::json(input.own_channel_names()).dump();
    targets_ = nlohmann::json(input.own_target_names()).dump();
    if (input.kind != StreamKind::steps) return;
    model_ = input.model;
    variables_ = nlohmann::json(model_->own_forecast_variables()).dump();
  }

  void start(const std::string& run_folder) override {
    if (std::filesystem::path(directory_).is_relative()) directory_ = run_folder + "/" + directory_;
    std::error_code error;
    std::filesystem::create_directories(directory_, error);
    if (error) throw RuntimeError(fmt::format("{}: {}", directory_, error.message()));
  }

  void consume_sample(const Sample& sample) override {
    std::vector<io::NamedTensor> tensors{{"x_cyx", sample.x_cyx}};
    if (sample.target_vyx.defined()) tensors.push_back({"target_vyx", sample.target_vyx});
    // Ranks that share the data have other samples, ranks that share the channels the same.
    write(fmt::format("sample-{:08}{}", sample.request.position, shares_samples_ ? suffix() : ""),
          tensors, nlohmann::json::array({record_of(sample.provenance, sample.request)}));
  }

  void consume_batch(const Batch& batch) override {
    std::vector<io::NamedTensor> tensors{{"x_bchw", batch.x_bchw}};
    if (batch.target_bvhw.defined()) tensors.push_back({"target_bvhw", batch.target_bvhw});
    nlohmann::json records = nlohmann::json::array();
    for (std::size_t b = 0; b < batch.requests.size(); ++b) {
      records.push_back(record_of(batch.provenance[b], batch.requests[b]));
    }
    write(numbered("batch", static_cast<std::int64_t>(batch.index)), tensors, records);
  }

  void consume_step(const model::Step& step, const Batch& /*batch*/) override {
    std::vector<io::NamedTensor> tensors;
    // A rank of the tensor axis may have no part in a prediction: its file says so.
    if (!model_->forecast_variables().empty()) {
      tensors.push_back({"prediction_bvhw", step.prediction_bvhw});
    } else if (model_->has_loss()) {
      tensors.push_back({"prediction", step.prediction});
    } else {
      tensors.push_back({"x_bnd", step.x_bnd});
    }
    write(numbered("step", written_), tensors, nlohmann::json::array());
  }

  bool satisfied() const override { return wanted_ > 0 && written_ >= wanted_; }

 private:
  std::string numbered(const char* kind, std::int64_t number) const {
    return fmt::format("{}-{:06}{}", kind, number, suffix());
  }
  std::string suffix() const { return rank_ > 0 ? fmt::format(".rank{}", rank_) : ""; }

  void write(const std::string& name, const std::vector<io::NamedTensor>& tensors,
             const nlohmann::json& records) {
    std::map<std::string, std::string> metadata{
        {"channels", channels_}, {"targets", targets_}, {"samples", records.dump()}};
    if (model_ != nullptr) metadata["variables"] = variables_;
    io::write_safetensors(fmt::format("{}/{}.safetensors", directory_, name), tensors, metadata);
    ++written_;
  }

  std::string directory_;
  std::int64_t wanted_;
  int rank_;
  bool shares_samples_;  // with a rank before this one
  std::string channels_, targets_, variables_;
  std::shared_ptr<const model::Model> model_;  // of the steps, else null
  std::int64_t written_ = 0;
};

}  // namespace

void register_write_tensors(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<WriteTensors>(context); });
}

}  // namespace trib::pipeline
