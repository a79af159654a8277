#include <fmt/format.h>

#include "io/raster/raster_files.h"
#include "io/raster/raster_source.h"
#include "io/raster/raster_warp.h"
#include "ops/base/error.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/image_set.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "read.raster";
  d.summary = "Read satellite scenes and other rasters: files, scenes of one file a band, mosaics.";
  d.inputs = StageDeclaration::Inputs::none;
  d.parameters = {
      param::strings("files",
                     "Files or patterns (*, ?, [..], {a,b}), in any format GDAL reads; "
                     "/vsizip/archive.zip/* reads inside archives; a table.csv with columns path "
                     "and perhaps label lists files.")
          .mandatory(),
      param::strings("bands",
                     "Scenes with one file a band: 'NAME=pattern' for the end of the path of each, "
                     "such as 'B02=*_B02.jp2'; files with the same text at the wildcards are one "
                     "scene."),
      param::string("reference_band",
                    "The band whose pixels those of the others are brought onto; the first if "
                    "left empty.")
          .or_else(""),
      param::boolean("mosaic", "Take all files as one image; later files (by path) lie on top.")
          .or_else(false),
      param::strings("channels",
                     "Bands by name (B04), number (4), range (2..5), wavelengths (400nm..900nm) or "
                     "nearest to one (550nm); all if left out."),
      param::string("crs",
                    "Bring images into this coordinate reference system (EPSG:32632, WKT, PROJ).")
          .or_else(""),
      param::numbers("resolution",
                     "Bring images to pixels of this width and height, or side, in units of the "
                     "reference system.")
          .above(0),
      param::numbers("bounds",
                     "Bring all images onto this rectangle: [left, bottom, right, top] in "
                     "coordinates of the reference system."),
      param::string("align_to", "Bring all images onto the grid of this file.").or_else(""),
      param::integer("decimate", "Read one pixel for this many along each side.")
          .at_least(1)
          .or_else(1),
      param::choice("resampling", io::resampling_methods(),
                    "How pixels are made of others by crs, resolution, bounds, align_to, decimate "
                    "and bands of other resolution.")
          .or_else("bilinear"),
      param::size("tile",
                  "Cut each image into tiles of this size, each an image; multiples of the files' "
                  "block size read fastest.")
          .unit_is("pixels")
          .at_least(1),
      param::boolean("keep_partial_tiles", "Keep the smaller tiles at the right and lower border.")
          .or_else(false),
      param::numbers("window", "Read only this rectangle of each image: [y, x, height, width].")
          .unit_is("pixels")
          .at_least(0),
      param::number("nodata", "Stored value that means missing, in place of what the files say."),
      param::boolean("apply_scale", "Multiply by the bands' scale and add their offset.")
          .or_else(true),
      param::string("label_from",
                    "Class labels: 'folder' for the index of the file's folder, a table.csv with "
                    "columns path and label, or rasters of classes, '*' standing for the name of "
                    "the image's file without ending.")
          .or_else(""),
      param::bytes(
          "cache",
          "Most memory for decoded blocks of TIFF files that later windows may want; never "
          "more than the files hold.")
          .at_least(0)
          .or_else("512MB"),
  };
  for (ParameterSpec& spec : image_set_parameters()) d.parameters.push_back(std::move(spec));
  return d;
}

class ReadRaster : public ImageSetStage {
 public:
  explicit ReadRaster(const StageContext& context) : ImageSetStage(context) {
    const ParameterValues& p = context.parameters;
    options_.files = p.strings("files");
    if (p.has("bands")) options_.bands = p.strings("bands");
    options_.reference_band = p.string("reference_band");
    options_.mosaic = p.boolean("mosaic");
    if (p.has("channels")) options_.channels = p.strings("channels");
    options_.crs = p.string("crs");
    if (p.has("resolution")) {
      const std::vector<double>& r = p.numbers("resolution");
      if (r.size() != 1 && r.size() != 2) {
        throw ConfigError("resolution: expected one number or [width, height]");
      }
      options_.resolution = {r.front(), r.back()};
    }
    if (p.has("bounds")) {
      const std::vector<double>& b = p.numbers("bounds");
      if (b.size() != 4) throw ConfigError("bounds: expected [left, bottom, right, top]");
      options_.bounds = {b[0], b[1], b[2], b[3]};
    }
    options_.align_to = p.string("align_to");
    options_.decimate = p.integer("decimate");
    options_.resampling = p.string("resampling");
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
    options_.chunk_cache_bytes = p.bytes("cache");
  }

 protected:
  std::vector<FileGroup> groups(const std::vector<std::string>& lost) const override {
    const std::vector<io::ListedFile> files = io::list_files(options_.files, lost);
    std::vector<FileGroup> groups;
    if (options_.mosaic) {
      // Without a part it would be another image, with its windows at other places.
      groups.push_back({"mosaic", {}});
      for (const io::ListedFile& file : files) groups.front().files.push_back(file.path);
    } else if (!options_.bands.empty()) {
      for (const auto& scene : io::group_scenes(files, io::parse_scene_patterns(options_.bands))) {
        groups.push_back({fmt::format("scene '{}'", scene.name), {}});
        for (const io::ListedFile& file : scene.files) groups.back().files.push_back(file.path);
      }
    } else {
      for (const io::ListedFile& file : files) groups.push_back({file.path, {file.path}});
    }
    return groups;
  }
  std::unique_ptr<io::ImageSource> open(const std::vector<std::string>& without) const override {
    io::RasterOptions options = options_;
    options.without = without;
    return io::open_raster(options);
  }
  std::unique_ptr<io::ImageSource> open_alone(const FileGroup& group) const override {
    io::RasterOptions options = options_;
    options.files = group.files;
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
