// One file with a hyperspectral cube: which dataset, axes, channels and units it has.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/cube/cube_dataset.h"
#include "io/cube/cube_source.h"
#include "io/cube/hdf5_file.h"
#include "io/image.h"
#include "io/unpack.h"

namespace trib::io {

/// Header of a cube.
struct CubeHeader {
  std::string path;
  Hdf5Dataset dataset;
  CubeAxes axes;
  std::vector<Channel> channels;            ///< all of the file
  std::vector<Packing> packing;             ///< of each channel, or one for all
  std::shared_ptr<const GeoReference> geo;  ///< null if unknown
  std::optional<Hdf5Dataset> labels;

  std::int64_t height() const { return dataset.shape[axes.y]; }
  std::int64_t width() const { return dataset.shape[axes.x]; }
  const Packing& packing_of(std::int64_t channel) const {
    return packing[packing.size() == 1 ? 0 : static_cast<std::size_t>(channel)];
  }
};

/// Find the cube of a file and what describes it. Throws ConfigError or DataError.
CubeHeader read_cube_header(const Hdf5File& file, const CubeOptions& options);

}  // namespace trib::io
