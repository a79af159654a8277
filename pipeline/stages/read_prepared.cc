#include <filesystem>

#include <fmt/format.h>

#include "io/prepared/prepared_source.h"
#include "ops/base/error.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/read_error_parameters.h"

namespace trib::pipeline {
namespace {

namespace fs = std::filesystem;

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "read.prepared";
  d.summary = "Read samples that 'trib prepare' has written in the order of a training.";
  d.inputs = StageDeclaration::Inputs::none;
  d.parameters = {
      param::string(
          "path",
          "Folder that 'trib prepare' wrote, or one split of it; its samples held out, if "
          "there are any, are those for evaluation.")
          .mandatory(),
      param::strings("channels", "Channels by name, number from 1 or range; all if left out."),
      param::strings("targets", "Targets, chosen like channels; all if left out."),
      param::choice("order", {"sequential", "blocks", "shuffled"},
                    "Order of an epoch: as prepared; blocks of neighbours in a new order drawn by "
                    "the seed, and the samples of each; or all samples in such an order.")
          .or_else("sequential"),
      param::integer("block", "Samples of a block.").at_least(1).or_else(64),
  };
  for (ParameterSpec& spec : read_error_parameters("sample")) {
    d.parameters.push_back(std::move(spec));
  }
  return d;
}

bool is_set(const std::string& folder) {
  return fs::exists(folder + "/" + io::kIndexName);
}

/// Folder of the samples to train on.
std::string training_folder(const std::string& path) {
  for (const std::string& folder : {path, path + "/train"}) {
    if (is_set(folder)) return folder;
    if (fs::exists(folder + "/" + io::kPreparationName)) {
      throw DataError(fmt::format(
          "{}: is not finished: there is no {}; run the parts of trib prepare that are missing",
          folder, io::kIndexName));
    }
  }
  throw DataError(fmt::format(
      "{}: holds no prepared samples; make them with: trib prepare GRAPH {}", path, path));
}

class ReadPrepared : public SourceStage {
 public:
  explicit ReadPrepared(const StageContext& context)
      : SourceStage(context),
        path_(context.parameters.string("path")),
        order_(context.parameters.string("order")),
        block_(context.parameters.integer("block")),
        read_errors_(read_errors_of(context.parameters)) {
    const ParameterValues& p = context.parameters;
    if (p.has("channels")) options_.channels = p.strings("channels");
    if (p.has("targets")) options_.targets = p.strings("targets");
  }

  StreamInfo prepare() override {
    options_.path = training_folder(path_);
    train_ = std::make_unique<io::PreparedSource>(options_);
    if (const std::string held_out = path_ + "/eval"; options_.path != path_ && is_set(held_out)) {
      options_.path = held_out;
      eval_ = std::make_unique<io::PreparedSource>(options_);
      check_alike();
    }
    StreamInfo info;
    info.channels = train_->channels();
    info.targets = train_->targets();
    info.grid = train_->grid();
    info.extent = train_->extent(0);
    if (const auto& scaling = train_->head().scaling) {
      info.statistics = std::make_shared<ChannelStatistics>(
          ChannelStatistics{scaling->channels, scaling->mean, scaling->std});
    }
    return info;
  }

  void keep(const ChannelNames& own) override {
    for (io::PreparedSource* source : {train_.get(), eval_.get()}) {
      if (source == nullptr) continue;
      source->keep_channels(positions_of(own.channels, source->channels()));
      source->keep_targets(positions_of(own.targets, source->targets()));
    }
  }

  std::int64_t items(Split split) const override { return source(split).size(); }
  io::Extent extent(Split split, std::int64_t item) const override {
    return source(split).extent(item);
  }
  ItemOrder order() const override {
    if (order_ == "sequential") return ItemOrder::listed;
    return order_ == "blocks" ? ItemOrder::grouped : ItemOrder::shuffled;
  }
  std::int64_t group(Split /*split*/, std::int64_t item) const override { return item / block_; }
  bool holds_out() const override { return eval_ != nullptr; }
  ReadErrors read_errors() const override { return read_errors_; }
  std::int64_t bytes_decoded() const override {
    return train_->bytes_decoded() + (eval_ == nullptr ? 0 : eval_->bytes_decoded());
  }

  Sample read(Split split, const SampleRequest& request, const ReadTarget& target) const override {
    const io::PreparedSource& from = source(split);
    const io::Extent extent = from.extent(request.item);
    const auto memory = [&](const Tensor& wanted, const std::vector<io::Channel>& channels) {
      return image_memory(wanted, {std::ssize(channels), extent.height, extent.width});
    };
    Sample sample;
    sample.x_cyx = memory(target.x_cyx, from.channels());
    sample.provenance =
        from.read_into(request.item, {}, {sample.x_cyx.data<float>(), target.channel_maps()});
    if (!from.head().layout.targets.empty()) {
      sample.target_vyx = memory(target.target_vyx, from.targets());
      from.read_target_into(request.item, {sample.target_vyx.data<float>(), target.target_maps()});
      sample.lead_hours = from.lead_hours(request.item);
    }
    return sample;
  }

  std::string describe(Split split, std::int64_t item) const override {
    return source(split).describe(item);
  }

 private:
  const io::PreparedSource& source(Split split) const {
    return split == Split::eval && eval_ != nullptr ? *eval_ : *train_;
  }

  void check_alike() const {
    const auto names = [](const std::vector<io::Channel>& channels) {
      std::vector<std::string> list;
      for (const io::Channel& channel : channels) list.push_back(channel.name);
      return fmt::format("{}", fmt::join(list, ", "));
    };
    const auto facts = [&](const io::PreparedSource& source) {
      const auto& scaling = source.head().scaling;
      return fmt::format("{} x {}, channels {}, targets {}, {}", source.extent(0).height,
                         source.extent(0).width, names(source.channels()), names(source.targets()),
                         scaling
                             ? fmt::format("normalised by means {}", fmt::join(scaling->mean, " "))
                             : "not normalised");
    };
    if (facts(*train_) == facts(*eval_)) return;
    throw DataError(fmt::format("{}: the splits do not belong together: train has {}; eval has {}",
                                path_, facts(*train_), facts(*eval_)));
  }

  std::string path_, order_;
  std::int64_t block_;
  ReadErrors read_errors_;
  io::PreparedOptions options_;
  std::unique_ptr<io::PreparedSource> train_, eval_;  // eval_: null if none is held out
};

}  // namespace

void register_read_prepared(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<ReadPrepared>(context); });
}

}  // namespace trib::pipeline
