// One file with a hyperspectral cube: which dataset, axes, channels and units it has.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "io/cube/cube_source.h"
#include "io/cube/hdf5_file.h"
#include "io/image.h"
#include "io/unpack.h"

namespace trib::io {

/// Header of a cube.
struct CubeHeader {
  std::string path;
  Hdf5Dataset dataset;
  std::size_t axis_c = 2, axis_y = 0, axis_x = 1;  ///< positions in the dataset's shape
  std::vector<Channel> channels;                   ///< all of the file
  Packing packing;
  std::shared_ptr<const GeoReference> geo;  ///< null if unknown
  std::optional<Hdf5Dataset> labels;

  std::int64_t height() const { return dataset.shape[axis_y]; }
  std::int64_t width() const { return dataset.shape[axis_x]; }
};

/// Find the cube of a file and what describes it. Throws ConfigError or DataError.
CubeHeader read_cube_header(const Hdf5File& file, const CubeOptions& options);

}  // namespace trib::io
