#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "io/grid/cf_time.h"
#include "io/grid/grid_source.h"
#include "ops/base/error.h"
#include "ops/base/random.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/field_items.h"
#include "pipeline/stages/image_set.h"
#include "pipeline/stages/open_readable.h"
#include "pipeline/stages/read_error_parameters.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "read.netcdf";
  d.summary =
      "Read fields on a latitude-longitude grid from NetCDF or GRIB files, alone or with the field "
      "to forecast.";
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
      param::strings("static",
                     "Files of constants such as orography or a land-sea mask: their fields are "
                     "repeated at each time and are no targets."),
      param::strings("times",
                     "Inclusive ranges of years or dates, such as 2019-03-01..2019-03-20 or "
                     "[1979..2000, 2003..2015]; all if left out."),
      param::strings("eval_times",
                     "Times kept for evaluation, written like times; these are then the others."),
      param::integer("time_stride", "Take every n-th time of each range.").at_least(1).or_else(1),
      param::strings("lead",
                     "Lead times of a forecast, such as 6h or [6h, 24h]: each sample then carries "
                     "the fields this much later as its target. Of a range such as 6h..120h one is "
                     "drawn for each sample in each epoch."),
      param::duration("lead_step", "Steps of the lead times of a range.").above(0),
      param::strings("targets",
                     "Fields to forecast, named like channels; the channels if left out."),
      param::choice("longitudes", {"as_is", "0..360", "-180..180"},
                    "How longitudes are counted: like the first file, or from 0 or -180.")
          .or_else("as_is"),
      param::choice("gaps", {"allow", "fail"},
                    "What to do about times missing in the series: warn, or refuse the files.")
          .or_else("allow"),
      param::choice("duplicates", {"fail", "first"},
                    "What to do about a time that two files hold: refuse them, or take it from the "
                    "one listed first.")
          .or_else("fail"),
      param::number("holdout", "Fraction of the times, the last ones, kept for evaluation.")
          .at_least(0)
          .below(1)
          .or_else(0.0),
      param::boolean("allow_empty_fields", "Accept fields in which every value is missing.")
          .or_else(false),
      param::bytes("cache", "Memory for decoded chunks, shared by all threads.")
          .at_least(0)
          .or_else("256MB"),
      item_order_parameter(),
  };
  for (ParameterSpec& spec : read_error_parameters("field"))
    d.parameters.push_back(std::move(spec));
  return d;
}

std::vector<std::string> strings_or_none(const ParameterValues& p, const char* name) {
  return p.has(name) ? p.strings(name) : std::vector<std::string>{};
}

io::GridOptions grid_options(const ParameterValues& p) {
  io::GridOptions options;
  options.files = p.strings("files");
  options.static_files = strings_or_none(p, "static");
  options.channels = strings_or_none(p, "channels");
  options.times = strings_or_none(p, "times");
  // Without 'times' all are read, and those for evaluation are told apart.
  if (!options.times.empty()) {
    const std::vector<std::string> more = strings_or_none(p, "eval_times");
    options.times.insert(options.times.end(), more.begin(), more.end());
  }
  options.time_stride = p.integer("time_stride");
  const std::string& longitudes = p.string("longitudes");
  options.longitudes = longitudes == "0..360"      ? io::LongitudeRange::east
                       : longitudes == "-180..180" ? io::LongitudeRange::centred
                                                   : io::LongitudeRange::as_is;
  options.gaps = p.string("gaps") == "fail" ? io::OnGaps::fail : io::OnGaps::allow;
  options.duplicates =
      p.string("duplicates") == "first" ? io::OnDuplicates::first : io::OnDuplicates::fail;
  options.allow_empty_fields = p.boolean("allow_empty_fields");
  options.cache_bytes = p.bytes("cache");
  return options;
}

/// Items are images, or pairs of an image and the one a lead time later.
class ReadNetcdf : public SourceStage {
 public:
  explicit ReadNetcdf(const StageContext& context)
      : SourceStage(context),
        options_(grid_options(context.parameters)),
        eval_times_(strings_or_none(context.parameters, "eval_times")),
        targets_(strings_or_none(context.parameters, "targets")),
        holdout_(context.parameters.number("holdout")),
        order_(item_order(context.parameters)),
        read_errors_(read_errors_of(context.parameters)),
        draws_(RandomStream(context.seed, "lead." + context.node)) {
    const ParameterValues& p = context.parameters;
    leads_ = parse_lead_times(strings_or_none(p, "lead"),
                              p.has("lead_step") ? p.duration_hours("lead_step") : 0);
    if (!targets_.empty() && leads_.none()) {
      throw ConfigError("targets: need a lead time; set 'lead'");
    }
    if (holdout_ > 0 && !eval_times_.empty()) {
      throw ConfigError("holdout and eval_times both say what is kept for evaluation; leave one");
    }
  }

  StreamInfo prepare() override {
    const std::vector<std::string> all = options_.files;
    const FileSet files{
        .list = [&](const std::vector<std::string>& lost) { return groups_of_files(all, lost); },
        .open =
            [&](const std::vector<std::string>& without) {
              options_.files = files_without(all, without);
              source_ = io::open_grid(options_);
            },
        .open_alone =
            [](const FileGroup& group) {
              io::GridOptions alone;
              alone.files = group.files;
              io::open_grid(alone);
            }};
    unreadable_ = open_readable(files, lost_, read_errors_);
    StreamInfo info;
    info.channels = source_->channels();
    info.grid = source_->grid();
    info.extent = source_->extent(0);
    if (!leads_.none()) {
      target_source_ = io::open_grid(target_options());
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

  std::int64_t items(Split split) const override { return items_->size(split); }
  io::Extent extent(Split /*split*/, std::int64_t /*item*/) const override {
    return source_->extent(0);
  }
  ItemOrder order() const override { return order_; }
  std::int64_t group(Split split, std::int64_t item) const override {
    return source_->group(items_->image(split, item));
  }
  bool holds_out() const override { return holdout_ > 0 || !eval_times_.empty(); }
  ReadErrors read_errors() const override { return read_errors_; }
  std::vector<std::string> warnings() const override {
    if (source_->gaps().empty()) return {};
    return {source_->gaps()};
  }
  void leave_out(std::vector<UnreadableFile> lost) override { lost_ = std::move(lost); }
  std::vector<UnreadableFile> unreadable_files() const override { return unreadable_; }
  std::int64_t bytes_decoded() const override {
    return source_->bytes_decoded() +
           (target_source_ == nullptr ? 0 : target_source_->bytes_decoded());
  }
  std::int64_t cache_bytes() const override {
    return source_->cache_bytes() + (target_source_ == nullptr ? 0 : target_source_->cache_bytes());
  }
  void limit_cache(std::int64_t bytes) override {
    const double share = static_cast<double>(bytes) / static_cast<double>(cache_bytes());
    for (const auto& source : {source_.get(), target_source_.get()}) {
      if (source == nullptr || source->cache_bytes() == 0) continue;
      source->limit_cache(
          static_cast<std::int64_t>(share * static_cast<double>(source->cache_bytes())));
    }
  }

  Sample read(Split split, const SampleRequest& request, const ReadTarget& target) const override {
    const FieldPair pair = items_->pair(split, request.item, draw(split, request));
    const io::Extent extent = source_->extent(pair.image);
    const auto shape_of = [&](const io::GridSource& source) {
      return Shape{std::ssize(source.channels()), extent.height, extent.width};
    };
    Sample sample;
    sample.x_cyx = image_memory(target.x_cyx, shape_of(*source_));
    sample.provenance =
        source_->read_into(pair.image, {}, {sample.x_cyx.data<float>(), target.channel_maps()});
    if (pair.target >= 0) {
      sample.target_vyx = image_memory(target.target_vyx, shape_of(*target_source_));
      target_source_->read_into(pair.target, {},
                                {sample.target_vyx.data<float>(), target.target_maps()});
      sample.lead_hours = static_cast<float>(pair.lead_hours);
    }
    return sample;
  }

  std::string describe(Split split, std::int64_t item) const override {
    const std::int64_t image = items_->image(split, item);
    const io::Provenance provenance = source_->provenance(image);
    return fmt::format("{}, time {} of {}", provenance.file, image, source_->size());
  }

 private:
  // What the constants are is known; nobody forecasts them.
  io::GridOptions target_options() const {
    io::GridOptions options = options_;
    options.static_files.clear();
    if (!targets_.empty()) {
      options.channels = targets_;
    } else if (!options_.static_files.empty()) {
      options.channels.clear();
      for (std::size_t c = 0; c < source_->channels().size(); ++c) {
        if (!source_->is_static(c)) options.channels.push_back(source_->channels()[c].name);
      }
      if (options.channels.empty()) {
        throw ConfigError("lead: all channels are constants, there is nothing to forecast");
      }
    }
    return options;
  }

  // The part each time of a member plays: some ranges, or the last part of the period, are kept for
  // evaluation.
  std::vector<TimeUse> uses() const {
    const auto per_member = static_cast<std::size_t>(source_->size() / source_->num_members());
    std::vector<TimeUse> uses(per_member, TimeUse::train);
    const auto held_out =
        static_cast<std::ptrdiff_t>(std::ceil(holdout_ * static_cast<double>(per_member)));
    std::fill(uses.end() - held_out, uses.end(), TimeUse::eval);
    for (const std::string& text : eval_times_) {
      const io::TimeRange range = io::parse_time_range(text, source_->calendar());
      for (std::size_t t = 0; t < per_member; ++t) {
        if (range.contains(source_->times()[t])) uses[t] = TimeUse::eval;
      }
    }
    return uses;
  }

  void make_items() {
    const std::vector<TimeUse> of_times = uses();
    if (!eval_times_.empty() && std::ranges::find(of_times, TimeUse::eval) == of_times.end()) {
      throw DataError(fmt::format("none of the {} times lies in eval_times ({})", of_times.size(),
                                  fmt::join(eval_times_, ", ")));
    }
    items_.emplace(source_->times(), of_times, leads_);
    if (items_->size(Split::train) > 0 && items_->size(Split::eval) > 0) return;
    const char* what = items_->size(Split::train) > 0 ? "to evaluate on" : "to train on";
    const std::vector<double>& times = source_->times();
    const auto per_member = source_->size() / source_->num_members();
    if (leads_.none()) {
      throw DataError(fmt::format("there are {} times, but none {}", per_member, what));
    }
    throw DataError(fmt::format(
        "no two of the {} times {} lie a lead time of {} h apart; the first are {} h apart",
        per_member, what,
        leads_.random() ? fmt::format("{} to {}", leads_.from, leads_.to)
                        : fmt::format("{}", fmt::join(leads_.listed, " h, ")),
        times.size() > 1 ? (times[1] - times[0]) / 3600 : 0.0));
  }

  // What a random lead time is drawn from: a function of the sample and the epoch.
  RandomStream draw(Split split, const SampleRequest& request) const {
    return draws_.substream(static_cast<std::uint64_t>(split))
        .substream(static_cast<std::uint64_t>(request.epoch))
        .substream(static_cast<std::uint64_t>(request.item));
  }

  io::GridOptions options_;
  std::vector<std::string> eval_times_, targets_;
  LeadTimes leads_;
  double holdout_;
  ItemOrder order_;
  ReadErrors read_errors_;
  RandomStream draws_;
  std::vector<UnreadableFile> lost_, unreadable_;
  std::unique_ptr<io::GridSource> source_, target_source_;
  std::optional<FieldItems> items_;
};

}  // namespace

void register_read_netcdf(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<ReadNetcdf>(context); });
}

}  // namespace trib::pipeline
