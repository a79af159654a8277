#include "io/raster/raster_source.h"
#include "ops/base/error.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/image_set.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "read.raster";
  d.summary = "Read satellite scenes and other rasters, one image a file, window or tile.";
  d.inputs = StageDeclaration::Inputs::none;
  d.parameters = {
      param::strings("files",
                     "Files or patterns (*, ?, [..], {a,b}), in any format GDAL reads; "
                     "/vsizip/archive.zip/* reads inside archives.")
          .mandatory(),
      param::strings("channels",
                     "Bands by name (B04), number (4), range (2..5) or wavelength (400nm..900nm); "
                     "all if left out."),
      param::size("tile",
                  "Cut each file into tiles of this size, each an image; multiples of the files' "
                  "block size read fastest.")
          .unit_is("pixels")
          .at_least(1),
      param::boolean("keep_partial_tiles", "Keep the smaller tiles at the right and lower border.")
          .or_else(false),
      param::numbers("window", "Read only this rectangle of each file: [y, x, height, width].")
          .unit_is("pixels")
          .at_least(0),
      param::number("nodata", "Stored value that means missing, in place of what the files say."),
      param::boolean("apply_scale", "Multiply by the bands' scale and add their offset.")
          .or_else(true),
      param::string("label_from",
                    "Class labels: 'folder' for the index of the file's folder, or the path of a "
                    "table with columns path and label.")
          .or_else(""),
  };
  for (ParameterSpec& spec : image_set_parameters()) d.parameters.push_back(std::move(spec));
  return d;
}

class ReadRaster : public ImageSetStage {
 public:
  explicit ReadRaster(const StageContext& context) : ImageSetStage(context) {
    const ParameterValues& p = context.parameters;
    options_.files = p.strings("files");
    if (p.has("channels")) options_.channels = p.strings("channels");
    if (p.has("tile")) options_.tile = io::Extent{p.size("tile")[0], p.size("tile")[1]};
    options_.keep_partial_tiles = p.boolean("keep_partial_tiles");
    if (p.has("window")) {
      const std::vector<double>& w = p.numbers("window");
      if (w.size() != 4) throw ConfigError("window: expected [y, x, height, width]");
      const auto pixel = [&](std::size_t i) { return static_cast<std::int64_t>(w[i]); };
      options_.window = io::Window{pixel(0), pixel(1), pixel(2), pixel(3)};
    }
    if (p.has("nodata")) options_.nodata = p.number("nodata");
    options_.apply_scale = p.boolean("apply_scale");
    options_.label_from = p.string("label_from");
  }

 protected:
  const std::vector<std::string>& files() const override { return options_.files; }
  std::unique_ptr<io::ImageSource> open(const std::vector<std::string>& files) const override {
    io::RasterOptions options = options_;
    options.files = files;
    return io::open_raster(options);
  }

 private:
  io::RasterOptions options_;
};

}  // namespace

void register_read_raster(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<ReadRaster>(context); });
}

}  // namespace trib::pipeline
