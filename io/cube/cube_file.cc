#include "io/cube/cube_file.h"

#include <fmt/format.h>

#include "io/cube/cube_bands.h"
#include "io/cube/cube_georeference.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

Hdf5Dataset find_labels(const Hdf5File& file, const std::string& path, std::int64_t height,
                        std::int64_t width) {
  const Hdf5Dataset* found = file.find(path);
  if (found == nullptr) {
    throw DataError(fmt::format("{}: has no dataset of labels \"{}\"; it has {}", file.path(), path,
                                list_datasets(file)));
  }
  if (!found->dtype || found->shape != std::vector<std::int64_t>{height, width}) {
    throw DataError(fmt::format("{}{}: labels are {} {}, expected numbers [{}, {}]", file.path(),
                                found->path, found->stored_type, shape_text(*found), height,
                                width));
  }
  return *found;
}

}  // namespace

CubeHeader read_cube_header(const Hdf5File& file, const CubeOptions& options) {
  CubeHeader cube;
  cube.path = file.path();
  cube.dataset = find_cube_dataset(file, options.dataset);
  const auto wavelengths = find_wavelengths(file, cube.dataset, options.wavelengths);
  cube.axes = find_cube_axes(file, cube.dataset, options.axes, wavelengths.size());
  const std::int64_t num_channels = cube.dataset.shape[cube.axes.c];
  cube.channels = describe_bands(file, cube.dataset, wavelengths, num_channels);
  cube.packing = find_packing(file, cube.dataset, num_channels);
  for (Packing& packing : cube.packing) {
    if (options.scale) packing.scale = *options.scale;
    if (options.nodata) packing.missing = {*options.nodata};
  }
  cube.geo = find_georeference(file, cube.dataset);
  if (!options.labels.empty()) {
    cube.labels = find_labels(file, options.labels, cube.height(), cube.width());
  }
  return cube;
}

}  // namespace trib::io
