#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/base/random.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/sample_random.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "crop";
  d.summary = "Cut pieces of one size out of each image, at random or on a grid.";
  d.parameters = {
      param::size("size", "Height and width of a piece.").unit_is("pixels").at_least(1).mandatory(),
      param::choice("mode", {"random", "grid"},
                    "Random places, or all places of a grid that starts in the upper left corner.")
          .or_else("random"),
      param::integer("per_image", "Random pieces made of an image in an epoch.")
          .at_least(1)
          .or_else(1),
      param::size("stride", "Step of the grid; the size of a piece if left out.")
          .unit_is("pixels")
          .at_least(1),
      param::boolean("flip",
                     "Mirror training pieces at random, left to right and top to bottom; not for "
                     "fields on a latitude-longitude grid.")
          .or_else(false),
      param::number("max_missing",
                    "A random piece with a larger fraction of missing values is drawn again.")
          .between(0, 1)
          .or_else(0.5),
      param::number(
          "holdout",
          "Fraction of each image kept for evaluation: a strip at the right or lower end, "
          "whichever side is longer, at least one piece wide.")
          .at_least(0)
          .below(1)
          .or_else(0.0),
  };
  return d;
}

/// A rectangle that pieces may be cut from.
struct Region {
  std::int64_t y = 0, x = 0, height = 0, width = 0;
};

class Crop : public TransformStage {
 public:
  explicit Crop(const StageContext& context)
      : TransformStage(context),
        random_(context.seed, "crop." + context.node),
        height_(context.parameters.size("size")[0]),
        width_(context.parameters.size("size")[1]),
        grid_(context.parameters.string("mode") == "grid"),
        per_image_(context.parameters.integer("per_image")),
        stride_y_(height_),
        stride_x_(width_),
        flip_(context.parameters.boolean("flip")),
        max_missing_(context.parameters.number("max_missing")),
        holdout_(context.parameters.number("holdout")) {
    if (context.parameters.has("stride")) {
      stride_y_ = context.parameters.size("stride")[0];
      stride_x_ = context.parameters.size("stride")[1];
    }
  }

  StreamInfo prepare(const StreamInfo& input) override {
    if (flip_ && input.grid != nullptr) {
      throw ConfigError("flip: fields on a latitude-longitude grid cannot be mirrored");
    }
    channels_ = input.channels;
    StreamInfo info = input;
    if (input.extents_agree) check_fits(input.extent);
    info.extent = {height_, width_};
    info.extents_agree = true;
    // Pieces lie at different latitudes.
    if (!(input.extent == info.extent && input.extents_agree)) info.grid = nullptr;
    return info;
  }

  void keep(const ChannelNames& own) override {
    sees_all_ = positions_of(own.channels, channels_).size() == channels_.size();
  }

  io::Extent output_extent(const io::Extent& /*input*/) const override { return {height_, width_}; }

  std::int64_t pieces(Split split, const io::Extent& input) const override {
    const Region region = region_of(split, input);
    if (region.height < height_ || region.width < width_) return 0;
    return grid_ ? rows(region) * columns(region) : per_image_;
  }

  bool holds_out() const override { return holdout_ > 0; }

  void apply(Sample input, Split split, std::span<const SampleRequest> requests,
             std::vector<Sample>& output) const override {
    const io::Extent extent{input.x_cyx.dim(1), input.x_cyx.dim(2)};
    const Region region = region_of(split, extent);
    for (const SampleRequest& request : requests) {
      const io::Window window = place(input, region, split, request);
      const std::uint64_t mirror = flip_ && split == Split::train
                                       ? sample_random(random_, split, request).bits(kMirrorIndex)
                                       : 0;
      Sample piece;
      piece.x_cyx = mirrored(cut(input.x_cyx, window), mirror);
      if (input.target_vyx.defined()) {
        piece.target_vyx = mirrored(cut(input.target_vyx, window), mirror);
      }
      piece.lead_hours = input.lead_hours;
      piece.provenance = input.provenance;
      piece.provenance.window = {input.provenance.window.y + window.y,
                                 input.provenance.window.x + window.x, height_, width_};
      piece.request = request;
      output.push_back(std::move(piece));
    }
  }

 private:
  void check_fits(const io::Extent& extent) const {
    for (const Split split : {Split::train, Split::eval}) {
      const Region region = region_of(split, extent);
      if (region.height >= height_ && region.width >= width_) continue;
      throw ConfigError(fmt::format(
          "a piece of {}x{} does not fit into the {}x{} of an image of {}x{} that are {}", height_,
          width_, region.height, region.width, extent.height, extent.width,
          holdout_ == 0           ? "there"
          : split == Split::train ? "left by the holdout"
                                  : "held out"));
    }
  }

  Region region_of(Split split, const io::Extent& extent) const {
    if (holdout_ == 0) return {0, 0, extent.height, extent.width};
    const bool by_columns = extent.width >= extent.height;
    const std::int64_t length = by_columns ? extent.width : extent.height;
    const std::int64_t strip =
        std::max(by_columns ? width_ : height_,
                 static_cast<std::int64_t>(std::llround(holdout_ * static_cast<double>(length))));
    const std::int64_t begin = split == Split::train ? 0 : length - strip;
    const std::int64_t size = split == Split::train ? length - strip : strip;
    return by_columns ? Region{0, begin, extent.height, size}
                      : Region{begin, 0, size, extent.width};
  }

  std::int64_t rows(const Region& region) const {
    return (region.height - height_) / stride_y_ + 1;
  }
  std::int64_t columns(const Region& region) const {
    return (region.width - width_) / stride_x_ + 1;
  }

  static Tensor cut(const Tensor& image, const io::Window& window) {
    return image.slice(1, window.y, window.y + window.height)
        .slice(2, window.x, window.x + window.width)
        .clone(MemoryKind::ingest);
  }

  io::Window place(const Sample& input, const Region& region, Split split,
                   const SampleRequest& request) const {
    if (grid_) {
      return {region.y + request.piece / columns(region) * stride_y_,
              region.x + request.piece % columns(region) * stride_x_, height_, width_};
    }
    const RandomStream stream = sample_random(random_, split, request);
    constexpr std::uint64_t kDraws = 16;
    io::Window best;
    double least_missing = 2;
    for (std::uint64_t draw = 0; draw < kDraws && least_missing > max_missing_; ++draw) {
      const auto at = [&](std::uint64_t index, std::int64_t places) {
        return static_cast<std::int64_t>(
            stream.below(2 * draw + index, static_cast<std::uint64_t>(places)));
      };
      const io::Window window{region.y + at(0, region.height - height_ + 1),
                              region.x + at(1, region.width - width_ + 1), height_, width_};
      const double missing = missing_fraction(input.x_cyx, window);
      if (missing < least_missing) {
        least_missing = missing;
        best = window;
      }
    }
    // Where this rank has none, the channels of others may have values.
    if (least_missing == 1 && sees_all_) {
      throw DataError(fmt::format("{}: every value of {} random pieces is missing",
                                  input.provenance.file, kDraws));
    }
    return best;
  }

  // Mirror rows (bit 0) and columns (bit 1) in place.
  static Tensor mirrored(Tensor image, std::uint64_t mirror) {
    const std::int64_t height = image.dim(1), width = image.dim(2);
    for (std::int64_t c = 0; c < image.dim(0); ++c) {
      float* plane = image.data<float>() + c * height * width;
      if ((mirror & 1) != 0) {
        for (std::int64_t y = 0; y < height / 2; ++y) {
          std::swap_ranges(plane + y * width, plane + (y + 1) * width,
                           plane + (height - 1 - y) * width);
        }
      }
      if ((mirror & 2) != 0) {
        for (std::int64_t y = 0; y < height; ++y) {
          std::reverse(plane + y * width, plane + (y + 1) * width);
        }
      }
    }
    return image;
  }

  static double missing_fraction(const Tensor& image, const io::Window& window) {
    const std::int64_t channels = image.dim(0);
    if (channels == 0) return 0;
    std::int64_t missing = 0;
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t y = window.y; y < window.y + window.height; ++y) {
        const float* row = image.data<float>() + (c * image.dim(1) + y) * image.dim(2) + window.x;
        for (std::int64_t x = 0; x < window.width; ++x) missing += std::isnan(row[x]) ? 1 : 0;
      }
    }
    return static_cast<double>(missing) /
           static_cast<double>(channels * window.height * window.width);
  }

  // Index of the mirror among a piece's random numbers, beyond those of its place.
  static constexpr std::uint64_t kMirrorIndex = 1000;

  RandomStream random_;
  std::int64_t height_, width_;
  bool grid_;
  std::int64_t per_image_;
  std::int64_t stride_y_, stride_x_;
  bool flip_;
  double max_missing_;
  double holdout_;
  std::vector<io::Channel> channels_;
  bool sees_all_ = true;  // whether all channels are this rank's
};

}  // namespace

void register_crop(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<Crop>(context); });
}

}  // namespace trib::pipeline
