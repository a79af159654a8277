#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "io/grid/grid_source.h"
#include "ops/base/error.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/image_set.h"
#include "pipeline/stages/read_error_parameters.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "read.netcdf";
  d.summary =
      "Read fields on a latitude-longitude grid from NetCDF files, alone or with the field to "
      "forecast.";
  d.inputs = StageDeclaration::Inputs::none;
  d.parameters = {
      param::strings("files",
                     "Files or patterns (*, ?, [..], {a,b}); files of the same variables are "
                     "joined in time, others "
                     "add channels.")
          .mandatory(),
      param::strings("channels",
                     "Fields by name (t2m, z_500), all levels of a variable (z), some (t@500,850) "
                     "or a level of all (*_850); all if left out."),
      param::string("times",
                    "Inclusive range of dates, such as 2019-03-01..2019-03-20; all if left "
                    "empty.")
          .or_else(""),
      param::integer("time_stride", "Take every n-th time.").at_least(1).or_else(1),
      param::strings("lead",
                     "Lead times of a forecast, such as 6h or [6h, 24h]: each sample then carries "
                     "the fields this much later as its target."),
      param::strings("targets",
                     "Fields to forecast, named like channels; the channels if left out."),
      param::number("holdout", "Fraction of the times, the last ones, kept for evaluation.")
          .at_least(0)
          .below(1)
          .or_else(0.0),
      param::boolean("allow_empty_fields", "Accept fields in which every value is missing.")
          .or_else(false),
      item_order_parameter(),
  };
  for (ParameterSpec& spec : read_error_parameters("field"))
    d.parameters.push_back(std::move(spec));
  return d;
}

double lead_hours(const std::string& text) {
  return parameters_from_text({param::duration("lead", "Lead time.").above(0)},
                              fmt::format("{{lead: {}}}", text))
      .duration_hours("lead");
}

/// Items are images, or pairs of an image and the one a lead time later.
class ReadNetcdf : public SourceStage {
 public:
  explicit ReadNetcdf(const StageContext& context)
      : SourceStage(context),
        holdout_(context.parameters.number("holdout")),
        order_(item_order(context.parameters)),
        read_errors_(read_errors_of(context.parameters)) {
    const ParameterValues& p = context.parameters;
    options_.files = p.strings("files");
    if (p.has("channels")) options_.channels = p.strings("channels");
    options_.times = p.string("times");
    options_.time_stride = p.integer("time_stride");
    options_.allow_empty_fields = p.boolean("allow_empty_fields");
    if (p.has("lead")) {
      for (const std::string& text : p.strings("lead")) leads_.push_back(lead_hours(text));
    }
    target_options_ = options_;
    if (p.has("targets")) {
      if (leads_.empty()) throw ConfigError("targets: need a lead time; set 'lead'");
      target_options_.channels = p.strings("targets");
    }
  }

  StreamInfo prepare() override {
    source_ = io::open_grid(options_);
    StreamInfo info;
    info.channels = source_->channels();
    info.grid = source_->grid();
    info.extent = source_->extent(0);
    if (!leads_.empty()) {
      target_source_ = io::open_grid(target_options_);
      if (target_source_->times() != source_->times()) {
        throw ConfigError(fmt::format(
            "targets: their files have {} times and those of the channels {}, or other ones; both "
            "must be given for the same times",
            target_source_->times().size(), source_->times().size()));
      }
      info.targets = target_source_->channels();
    }
    make_items();
    return info;
  }

  void keep(const ChannelNames& own) override {
    source_->keep_channels(positions_of(own.channels, source_->channels()));
    if (target_source_ == nullptr) return;
    target_source_->keep_channels(positions_of(own.targets, target_source_->channels()));
  }

  std::int64_t items(Split split) const override {
    return static_cast<std::int64_t>(list(split).size());
  }
  io::Extent extent(Split /*split*/, std::int64_t /*item*/) const override {
    return source_->extent(0);
  }
  ItemOrder order() const override { return order_; }
  std::int64_t group(Split split, std::int64_t item) const override {
    return source_->group(list(split)[static_cast<std::size_t>(item)].image);
  }
  bool holds_out() const override { return holdout_ > 0; }
  ReadErrors read_errors() const override { return read_errors_; }
  std::int64_t bytes_decoded() const override {
    return source_->bytes_decoded() +
           (target_source_ == nullptr ? 0 : target_source_->bytes_decoded());
  }
  std::int64_t cache_bytes() const override {
    return source_->cache_bytes() + (target_source_ == nullptr ? 0 : target_source_->cache_bytes());
  }

  Sample read(Split split, const SampleRequest& request, const ReadTarget& target) const override {
    const Item& item = list(split)[static_cast<std::size_t>(request.item)];
    const io::Extent extent = source_->extent(item.image);
    const auto shape_of = [&](const io::GridSource& source) {
      return Shape{std::ssize(source.channels()), extent.height, extent.width};
    };
    Sample sample;
    sample.x_cyx = image_memory(target.x_cyx, shape_of(*source_));
    sample.provenance =
        source_->read_into(item.image, {}, {sample.x_cyx.data<float>(), target.channel_maps()});
    if (item.target >= 0) {
      sample.target_vyx = image_memory(target.target_vyx, shape_of(*target_source_));
      target_source_->read_into(item.target, {},
                                {sample.target_vyx.data<float>(), target.target_maps()});
      sample.lead_hours = static_cast<float>(item.lead_hours);
    }
    return sample;
  }

  std::string describe(Split split, std::int64_t item) const override {
    const Item& at = list(split)[static_cast<std::size_t>(item)];
    const io::Provenance provenance = source_->provenance(at.image);
    return fmt::format("{}, time {} of {}", provenance.file, at.image, source_->size());
  }

 private:
  struct Item {
    std::int64_t image = 0;
    std::int64_t target = -1;
    double lead_hours = 0;
  };

  const std::vector<Item>& list(Split split) const {
    return split == Split::train ? train_ : eval_;
  }

  // The image of the same member `hours` later, -1 if the series has none.
  std::int64_t later(std::int64_t image, double hours) const {
    const std::vector<double>& times = source_->times();
    const std::int64_t per_member = source_->size() / source_->num_members();
    const std::int64_t first = image / per_member * per_member;
    const double wanted = times[static_cast<std::size_t>(image)] + hours * 3600;
    const auto begin = times.begin() + first;
    const auto end = begin + per_member;
    const auto at = std::lower_bound(begin, end, wanted - 0.5);
    return at == end || *at > wanted + 0.5 ? -1 : at - times.begin();
  }

  // Evaluation takes the last part of the period. A training pair must end before it begins, so
  // that no field of the evaluation is seen in training.
  void make_items() {
    const std::vector<double>& times = source_->times();
    const std::int64_t per_member = source_->size() / source_->num_members();
    const auto held_out =
        static_cast<std::int64_t>(std::ceil(holdout_ * static_cast<double>(per_member)));
    const std::int64_t split_at = per_member - held_out;
    train_.clear();
    eval_.clear();
    for (std::int64_t image = 0; image < source_->size(); ++image) {
      const bool late = image % per_member >= split_at;
      if (leads_.empty()) {
        (late ? eval_ : train_).push_back({image, -1, 0});
        continue;
      }
      for (const double lead : leads_) {
        const std::int64_t target = later(image, lead);
        if (target < 0) continue;
        if (late) {
          eval_.push_back({image, target, lead});
        } else if (target % per_member < split_at) {
          train_.push_back({image, target, lead});
        }
      }
    }
    if (holdout_ == 0) eval_ = train_;
    if (!leads_.empty() && (train_.empty() || eval_.empty())) {
      throw DataError(fmt::format(
          "no two of the {} times lie a lead time of {} h apart{}; the first are {} h apart",
          per_member, fmt::join(leads_, " h, "),
          holdout_ > 0 ? " outside or inside the holdout" : "",
          times.size() > 1 ? (times[1] - times[0]) / 3600 : 0.0));
    }
  }

  io::GridOptions options_, target_options_;
  std::vector<double> leads_;  // hours
  double holdout_;
  ItemOrder order_;
  ReadErrors read_errors_;
  std::unique_ptr<io::GridSource> source_, target_source_;
  std::vector<Item> train_, eval_;
};

}  // namespace

void register_read_netcdf(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<ReadNetcdf>(context); });
}

}  // namespace trib::pipeline
