#include "io/cube/cube_source.h"
#include "pipeline/stage/registry.h"
#include "pipeline/stages/builtin.h"
#include "pipeline/stages/image_set.h"

namespace trib::pipeline {
namespace {

StageDeclaration declaration() {
  StageDeclaration d;
  d.type = "read.cube";
  d.summary = "Read hyperspectral cubes from HDF5 files, one image a cube or tile.";
  d.inputs = StageDeclaration::Inputs::none;
  d.parameters = {
      param::strings("files", "Files or patterns (*, ?, [..], {a,b}).").mandatory(),
      param::string("dataset",
                    "Path of the cube in the file, or its last part; if left empty, the largest "
                    "dataset with three axes.")
          .or_else(""),
      param::string("axes",
                    "Meaning of the dataset's axes, a permutation of yxc (row, column, channel); "
                    "'auto' finds the channels by the list of wavelengths.")
          .or_else("auto"),
      param::string(
          "wavelengths",
          "Path of the dataset or attribute with the channels' wavelengths; if left empty, "
          "one called wavelength(s).")
          .or_else(""),
      param::strings("channels",
                     "Wavelength ranges (400nm..900nm), the nearest to one (550nm), numbers from 1 "
                     "(10..20) or names; all if left out."),
      param::number("scale",
                    "Factor from stored to physical values, in place of what the file says."),
      param::number("nodata", "Stored value that means missing, in place of what the file says."),
      param::size("tile", "Cut each cube into tiles of this size, each an image.")
          .unit_is("pixels")
          .at_least(1),
      param::boolean("keep_partial_tiles", "Keep the smaller tiles at the right and lower border.")
          .or_else(false),
      param::string("labels", "Path of a dataset of classes; an image gets its most frequent one.")
          .or_else(""),
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
    if (p.has("scale")) options_.scale = p.number("scale");
    if (p.has("nodata")) options_.nodata = p.number("nodata");
    if (p.has("tile")) options_.tile = io::Extent{p.size("tile")[0], p.size("tile")[1]};
    options_.keep_partial_tiles = p.boolean("keep_partial_tiles");
    options_.labels = p.string("labels");
  }

 protected:
  const std::vector<std::string>& files() const override { return options_.files; }
  std::unique_ptr<io::ImageSource> open(const std::vector<std::string>& files) const override {
    io::CubeOptions options = options_;
    options.files = files;
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
