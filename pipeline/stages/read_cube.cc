#include "io/cube/cube_source.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/image_set.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "read.cube";
  d.summary =
      "Read hyperspectral cubes from HDF5, ENVI, GeoTIFF and other files, one image a cube or "
      "tile.";
  d.inputs = StageDeclaration::Inputs::none;
  d.parameters = {
      param::strings("files",
                     "Files or patterns (*, ?, [..], {a,b}); an ENVI cube by its header or data "
                     "file.")
          .mandatory(),
      param::string("dataset",
                    "Path of the cube in the file, or its last part; if left empty, the largest "
                    "dataset with three axes.")
          .or_else(""),
      param::string("axes",
                    "Meaning of an HDF5 dataset's axes, a permutation of yxc (row, column, "
                    "channel); 'auto' goes by the file's names of axes or finds the channels by "
                    "the list of wavelengths.")
          .or_else("auto"),
      param::string(
          "wavelengths",
          "Path of the HDF5 dataset or attribute with the channels' wavelengths; if left empty, "
          "one called wavelength(s).")
          .or_else(""),
      param::strings("channels",
                     "Wavelength ranges (400nm..900nm), the nearest to one (550nm), numbers from 1 "
                     "(10..20) or names; all if left out."),
      param::strings("bad_bands",
                     "Bands to leave out: 'drop' for those that the file calls bad or that are "
                     "missing throughout, 'keep' for none, and selections as in channels.")
          .or_else("[drop]"),
      param::integer("bin", "Mean of so many neighbouring bands as one channel.")
          .unit_is("bands")
          .at_least(1)
          .or_else(1),
      param::strings("centres",
                     "Resample to channels of these centres ([450nm, 550nm]) by a Gaussian "
                     "response."),
      param::strings("widths",
                     "Full widths at half maximum for centres, one for all or one each; if left "
                     "out, the distance of the centres."),
      param::string("sensor",
                    "Resample to the bands of a table (CSV) with columns wavelength and fwhm and "
                    "perhaps name.")
          .or_else(""),
      param::number("scale",
                    "Factor from stored to physical values, in place of what the file says."),
      param::number("nodata", "Stored value that means missing, in place of what the file says."),
      param::size("tile", "Cut each cube into tiles of this size, each an image.")
          .unit_is("pixels")
          .at_least(1),
      param::boolean("keep_partial_tiles", "Keep the smaller tiles at the right and lower border.")
          .or_else(false),
      param::string("labels",
                    "Path of an HDF5 dataset of classes; an image gets its most frequent one.")
          .or_else(""),
      param::bytes("cache", "Memory for decoded chunks, shared by all threads.")
          .at_least(0)
          .or_else("256MB"),
  };
  for (ParameterSpec& spec : image_set_parameters()) d.parameters.push_back(std::move(spec));
  return d;
}

class ReadCube : public ImageSetStage {
 public:
  explicit ReadCube(const StageContext& context) : ImageSetStage(context) {
    const ParameterValues& p = context.parameters;
    options_.files = p.strings("files");
    options_.dataset = p.string("dataset");
    options_.axes = p.string("axes");
    options_.wavelengths = p.string("wavelengths");
    if (p.has("channels")) options_.channels = p.strings("channels");
    options_.bad_bands = p.strings("bad_bands");
    options_.bin = p.integer("bin");
    if (p.has("centres")) options_.centres = p.strings("centres");
    if (p.has("widths")) options_.widths = p.strings("widths");
    options_.sensor = p.string("sensor");
    if (p.has("scale")) options_.scale = p.number("scale");
    if (p.has("nodata")) options_.nodata = p.number("nodata");
    if (p.has("tile")) options_.tile = io::Extent{p.size("tile")[0], p.size("tile")[1]};
    options_.keep_partial_tiles = p.boolean("keep_partial_tiles");
    options_.labels = p.string("labels");
    options_.cache_bytes = p.bytes("cache");
  }

 protected:
  std::vector<FileGroup> groups(const std::vector<std::string>& lost) const override {
    return groups_of_files(options_.files, lost);
  }
  std::unique_ptr<io::ImageSource> open(const std::vector<std::string>& without) const override {
    io::CubeOptions options = options_;
    options.files = files_without(options.files, without);
    return io::open_cube(options);
  }
  std::unique_ptr<io::ImageSource> open_alone(const FileGroup& group) const override {
    io::CubeOptions options = options_;
    options.files = group.files;
    return io::open_cube(options);
  }

 private:
  io::CubeOptions options_;
};

}  // namespace

void register_read_cube(Registry& registry) {
  registry.add(declaration(),
               [](const StageContext& context) { return std::make_unique<ReadCube>(context); });
}

}  // namespace trib::pipeline
