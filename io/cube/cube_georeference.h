// Where on Earth the cube of an HDF5 file lies.
#pragma once

#include <memory>

#include "io/cube/hdf5_file.h"
#include "io/image.h"

namespace trib::io {

/// By the cube's attributes geotransform and epsg, or by NEON's Map_Info and EPSG Code; null if the
/// file has neither.
std::shared_ptr<const GeoReference> find_georeference(const Hdf5File& file,
                                                      const Hdf5Dataset& dataset);

}  // namespace trib::io
