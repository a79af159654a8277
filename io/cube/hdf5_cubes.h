// Cubes of HDF5 files, band by band as they are stored.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/cube/cube_source.h"
#include "io/image.h"

namespace trib::io {

/// Open cubes by reading their headers; the channels are `bands`, looked for in each file by name
/// or wavelength. Reading touches the chunks of these bands and the window alone. Of the options
/// those on channels are not looked at. Throws DataError for a file that lacks a band.
std::unique_ptr<ImageSource> open_hdf5_cubes(const std::vector<std::string>& files,
                                             const CubeOptions& options,
                                             const std::vector<Channel>& bands);

}  // namespace trib::io
