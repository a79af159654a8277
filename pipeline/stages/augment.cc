#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/base/error.h"
#include "ops/base/random.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/augmentation.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/sample_random.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "augment";
  d.summary = "Change training samples at random: where their pixels lie, and their values.";
  d.parameters = {
      param::strings(
          "flip",
          "Mirror at random: horizontal (left to right), vertical (upside down), or true "
          "for both."),
      param::boolean("turn", "Turn at random by quarters; images that are not square by halves.")
          .or_else(false),
      param::boolean("roll",
                     "Shift fields around the globe at random by whole columns, for grids that go "
                     "all the way round.")
          .or_else(false),
      param::size("resized_crop",
                  "Cut a rectangle out at random and resize it to this size; held-out images are "
                  "cut in their middle.")
          .unit_is("pixels")
          .at_least(1),
      param::numbers("crop_scale", "Least and largest share of the image that is cut out.")
          .above(0)
          .at_most(1)
          .or_else("[0.2, 1]"),
      param::numbers("crop_ratio", "Least and largest ratio of its width to its height.")
          .above(0)
          .or_else("[0.75, 1.3333333333333333]"),
      param::choice("resample", {"bilinear", "bicubic"}, "How it is resized.").or_else("bilinear"),
      param::integer("rand_augment", "Operations drawn for each sample; 0 for none.")
          .at_least(0)
          .or_else(0),
      param::number("magnitude", "How strong they are.").between(0, 30).or_else(9),
      param::strings("operations", fmt::format("Those to draw from, all if left out: {}.",
                                               fmt::join(kOperationNames, ", "))),
      param::numbers("range",
                     "Values that stand for black and white in the operations; the default is two "
                     "standard deviations to either side of the mean, once normalised.")
          .or_else("[-2, 2]"),
      param::number("noise", "Standard deviation of normal noise that is added to the values.")
          .at_least(0)
          .or_else(0.0),
      param::number("channel_dropout", "Chance of each channel to be filled.")
          .between(0, 1)
          .or_else(0.0),
      param::integer("cutout", "Rectangles that are filled; 0 for none.").at_least(0).or_else(0),
      param::size("cutout_size", "Their height and width; they are cut off at the border.")
          .unit_is("pixels")
          .at_least(1)
          .or_else("[16, 16]"),
      param::choice("fill", {"missing", "zero"},
                    "What to fill with, also where pixels would come from outside the image.")
          .or_else("missing"),
  };
  return d;
}

Bounds bounds_of(const ParameterValues& parameters, const std::string& name) {
  const std::vector<double>& values = parameters.numbers(name);
  if (values.size() == 2 && values[0] <= values[1]) return {values[0], values[1]};
  throw ConfigError(
      fmt::format("{}: expected two ascending numbers, found {}", name, fmt::join(values, ", ")));
}

class Augment : public TransformStage {
 public:
  explicit Augment(const StageContext& context)
      : TransformStage(context), random_(context.seed, "augment." + context.node) {
    const ParameterValues& p = context.parameters;
    if (p.has("flip")) read_flip(p.strings("flip"));
    settings_.turn = p.boolean("turn");
    settings_.roll = p.boolean("roll");
    if (p.has("resized_crop"))
      settings_.size = {p.size("resized_crop")[0], p.size("resized_crop")[1]};
    settings_.crop_scale = bounds_of(p, "crop_scale");
    settings_.crop_ratio = bounds_of(p, "crop_ratio");
    settings_.filter = p.string("resample") == "bicubic" ? ops::ResizeFilter::bicubic
                                                         : ops::ResizeFilter::bilinear;
    settings_.num_operations = p.integer("rand_augment");
    settings_.magnitude = p.number("magnitude");
    read_operations(p.has("operations") ? p.strings("operations") : std::vector<std::string>());
    const Bounds range = bounds_of(p, "range");
    if (range.low == range.high) throw ConfigError("range: black and white are the same");
    settings_.range = {static_cast<float>(range.low), static_cast<float>(range.high)};
    range_given_ = p.was_given("range");
    settings_.noise = p.number("noise");
    settings_.channel_dropout = p.number("channel_dropout");
    settings_.num_cutouts = p.integer("cutout");
    settings_.cutout = {p.size("cutout_size")[0], p.size("cutout_size")[1]};
    if (p.string("fill") == "zero") settings_.fill = 0;
  }

  StreamInfo prepare(const StreamInfo& input) override {
    if (input.grid != nullptr) refuse_on_grid();
    if (settings_.roll) check_roll(input.grid.get());
    const bool is_normalised = input.statistics != nullptr;
    if (settings_.fill == 0 && !is_normalised) {
      throw ConfigError(
          "fill: zero stands for the mean of values that a 'normalize' has passed; "
          "put one before, or fill with 'missing'");
    }
    const bool changes_tones =
        std::any_of(settings_.operations.begin(), settings_.operations.end(),
                    [](auto o) { return o == Operation::brightness || o > Operation::sharpness; });
    if (settings_.num_operations > 0 && changes_tones && !is_normalised && !range_given_) {
      throw ConfigError(
          "range: say which values stand for black and white, or put a 'normalize' "
          "before");
    }
    channels_ = input.channels;
    settings_.num_channels = channels_.size();
    settings_.own.resize(channels_.size());
    std::iota(settings_.own.begin(), settings_.own.end(), 0);
    StreamInfo info = input;
    if (settings_.crops()) {
      info.extent = settings_.size;
      info.extents_agree = true;
    }
    if (settings_.roll) {
      // What is at a column differs from sample to sample.
      io::LatLonGrid grid = *input.grid;
      std::fill(grid.longitudes.begin(), grid.longitudes.end(), io::kUnknown);
      info.grid = std::make_shared<io::LatLonGrid>(std::move(grid));
    }
    return info;
  }

  void keep(const ChannelNames& own) override {
    settings_.own = positions_of(own.channels, channels_);
  }

  io::Extent output_extent(const io::Extent& input) const override {
    return settings_.crops() ? settings_.size : input;
  }

  void apply(Sample input, Split split, std::span<const SampleRequest> requests,
             std::vector<Sample>& output) const override {
    if (split == Split::train) {
      augment(input, settings_, sample_random(random_, split, requests.front()));
    } else {
      cut_middle(input, settings_);
    }
    output.push_back(std::move(input));
  }

 private:
  void read_flip(const std::vector<std::string>& words) {
    for (const std::string& word : words) {
      if (word != "horizontal" && word != "vertical" && word != "true" && word != "false") {
        throw ConfigError(
            fmt::format("flip: expected horizontal, vertical or true, found '{}'", word));
      }
      settings_.flip_x = settings_.flip_x || word == "horizontal" || word == "true";
      settings_.flip_y = settings_.flip_y || word == "vertical" || word == "true";
    }
  }

  void read_operations(const std::vector<std::string>& names) {
    for (std::size_t i = 0; i < kOperationNames.size(); ++i) {
      const bool is_wanted =
          std::find(names.begin(), names.end(), kOperationNames[i]) != names.end();
      if (names.empty() || is_wanted) settings_.operations.push_back(static_cast<Operation>(i));
    }
    for (const std::string& name : names) {
      if (std::find(kOperationNames.begin(), kOperationNames.end(), name) !=
          kOperationNames.end()) {
        continue;
      }
      throw ConfigError(fmt::format("operations: there is no '{}'; there are {}", name,
                                    fmt::join(kOperationNames, ", ")));
    }
  }

  void refuse_on_grid() const {
    const char* what = nullptr;
    if (settings_.flip_x || settings_.flip_y) what = "flip";
    if (settings_.turn) what = "turn";
    if (settings_.crops()) what = "resized_crop";
    if (settings_.num_operations > 0 && moves_pixels(settings_.operations.front()))
      what = "rand_augment";
    if (what == nullptr) return;
    throw ConfigError(fmt::format(
        "{}: fields on a latitude-longitude grid cannot be mirrored, turned, cut or moved{}", what,
        std::string_view(what) == "rand_augment" ? "; leave such 'operations' out" : ""));
  }

  static void check_roll(const io::LatLonGrid* grid) {
    if (grid == nullptr) {
      throw ConfigError("roll: needs fields on a latitude-longitude grid, which its input is not");
    }
    const std::vector<double>& longitudes = grid->longitudes;
    const auto count = static_cast<double>(longitudes.size());
    const double step = (longitudes.back() - longitudes.front()) / std::max(count - 1, 1.0);
    if (std::abs(step * count - 360) < 0.01 * step) return;
    throw ConfigError(fmt::format(
        "roll: needs fields all around the globe; {} columns from {} to {} degrees are not",
        longitudes.size(), longitudes.front(), longitudes.back()));
  }

  RandomStream random_;
  std::vector<io::Channel> channels_;
  bool range_given_ = false;
  Augmentation settings_;
};

}  // namespace

void register_augment(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<Augment>(context); });
}

}  // namespace trib::pipeline
