#include <cmath>
#include <ctime>
#include <filesystem>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "io/grid/grid_writer.h"
#include "io/kept_channels.h"
#include "model/model.h"
#include "ops/base/error.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/physical_values.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "write.netcdf";
  d.summary = "Write fields or forecasts on a latitude-longitude grid to a NetCDF file (CF-1.8).";
  d.parameters = {
      param::string(
          "path",
          "The file; a relative path is below the run folder, NODE.nc if left empty. With "
          "several ranks each writes its part to NAME.rank-N.nc.")
          .or_else(""),
      param::integer("count", "Samples, batches or steps a rank writes, the first ones; 0: all.")
          .at_least(0)
          .or_else(0),
      param::integer("deflate", "Level of compression by zlib; 0: none.").between(0, 9).or_else(1),
      param::boolean("shuffle", "Whether bytes are shuffled before, which makes them smaller.")
          .or_else(true),
      param::choice("packing", {"none", "short"},
                    "Write values as they are, in single precision, or as 16-bit integers with "
                    "scale_factor and add_offset by the range of each variable.")
          .or_else("none"),
  };
  return d;
}

/// Name of a rank's part of a file: "dir/name.rank-1.nc".
std::string part_of(const std::string& path, int rank) {
  const std::filesystem::path whole(path);
  std::filesystem::path part = whole;
  part.replace_filename(
      fmt::format("{}.rank-{}{}", whole.stem().string(), rank, whole.extension().string()));
  return part.string();
}

class WriteNetcdf : public SinkStage {
 public:
  explicit WriteNetcdf(const StageContext& context)
      : SinkStage(context),
        path_(context.parameters.string("path")),
        wanted_(context.parameters.integer("count")),
        data_ranks_(context.data_ranks),
        rank_(context.world_rank()),
        has_parts_(context.data_ranks * context.tensor_ranks > 1) {
    if (path_.empty()) path_ = context.node + ".nc";
    options_.deflate = static_cast<int>(context.parameters.integer("deflate"));
    options_.shuffle = context.parameters.boolean("shuffle");
    options_.pack = context.parameters.string("packing") == "short";
  }

  void prepare(const StreamInfo& input, const std::string& /*input_node*/) override {
    if (input.grid == nullptr) {
      throw ConfigError("needs fields on a latitude-longitude grid, which its input is not");
    }
    grid_ = *input.grid;
    if (input.kind == StreamKind::steps) {
      const std::vector<std::string> variables = input.model->own_forecast_variables();
      if (input.model->forecast_variables().empty()) {
        throw ConfigError("needs forecasts; the model before it ends in another head");
      }
      for (const std::string& name : variables) channels_.push_back(target(input, name));
    } else {
      channels_ = io::elements_at(input.own_channels, input.channels);
    }
    physical_ = PhysicalValues(input.statistics, channels_);
  }

  void start(const std::string& run_folder) override {
    if (channels_.empty()) return;  // this rank has no part in the fields
    if (std::filesystem::path(path_).is_relative()) path_ = run_folder + "/" + path_;
    if (has_parts_) path_ = part_of(path_, rank_);
    std::error_code error;
    const auto folder = std::filesystem::path(path_).parent_path();
    std::filesystem::create_directories(folder, error);
    if (error) throw RuntimeError(fmt::format("{}: {}", folder.string(), error.message()));
    options_.history = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}: tributary {}, node {}",
                                   fmt::gmtime(std::time(nullptr)), TRIB_VERSION, node());
    writer_ = std::make_unique<io::GridWriter>(path_, grid_, channels_, options_);
  }

  void consume_sample(const Sample& sample) override {
    // Samples come out of order: those that belong to the first are known by their positions.
    const auto positions = static_cast<std::uint64_t>(wanted_ * data_ranks_);
    if (wanted_ > 0 && sample.request.position >= positions) return;
    add({sample.provenance.time, io::kUnknown}, sample.x_cyx.data<float>());
    ++written_;
  }

  void consume_batch(const Batch& batch) override {
    for (std::size_t b = 0; b < batch.requests.size(); ++b) {
      add({batch.provenance[b].time, io::kUnknown}, image(batch.x_bchw, b));
    }
    ++written_;
  }

  void consume_step(const model::Step& step, const Batch& batch) override {
    for (std::size_t b = 0; b < batch.requests.size(); ++b) {
      const double began = batch.provenance[b].time;
      const double hours = static_cast<double>(batch.lead_hours[b]);
      add({began + 3600 * hours, began}, image(step.prediction_bvhw, b));
    }
    ++written_;
  }

  bool satisfied() const override { return wanted_ > 0 && written_ >= wanted_; }

  void finish() override {
    if (writer_ != nullptr) writer_->finish();
  }

 private:
  static io::Channel target(const StreamInfo& input, const std::string& name) {
    for (const auto* list : {&input.targets, &input.channels}) {
      for (const io::Channel& channel : *list) {
        if (channel.name == name) return channel;
      }
    }
    return {.name = name, .units = ""};
  }

  static const float* image(const Tensor& batch, std::size_t b) {
    const std::int64_t values = batch.dim(1) * batch.dim(2) * batch.dim(3);
    return batch.data<float>() + static_cast<std::int64_t>(b) * values;
  }

  void add(const io::FieldTime& time, const float* data_cyx) {
    if (writer_ == nullptr) return;
    const std::size_t pixels = grid_.latitudes.size() * grid_.longitudes.size();
    writer_->add(time, physical_.of(data_cyx, static_cast<std::int64_t>(pixels)));
  }

  std::string path_;
  std::int64_t wanted_;
  int data_ranks_, rank_;
  bool has_parts_;
  io::GridWriteOptions options_;
  io::LatLonGrid grid_;
  std::vector<io::Channel> channels_;
  PhysicalValues physical_;
  std::unique_ptr<io::GridWriter> writer_;
  std::int64_t written_ = 0;
};

}  // namespace

void register_write_netcdf(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<WriteNetcdf>(context); });
}

}  // namespace trib::pipeline
