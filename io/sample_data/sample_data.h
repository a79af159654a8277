// Small files of made-up but physically plausible measurements, to try every reader and graph on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trib::io {

/// How much to write, and from which seed. The default makes about 22 MB.
struct SampleDataOptions {
  std::uint64_t seed = 7;
  int scenes = 4;        ///< satellite images
  int scene_size = 256;  ///< pixels along each side
  int time_steps = 240;  ///< of the atmosphere, 6 hours each; even
  int fields = 4;        ///< hyperspectral cubes
  int field_size = 64;   ///< pixels along each side
  int bands = 200;       ///< of a cube, 400 to 1000 nm
};

/// Write below `directory`, replacing files of the same names:
/// - satellite/scene_00.tif ...: surface reflectance of water, soil, crops, forest and towns in six
///   bands of Sentinel-2 (B02 B03 B04 B08 B11 B12), with the classes in satellite/classes/;
/// - era5/pl_01.nc, pl_02.nc, sfc_01.nc, sfc_02.nc: an atmosphere of travelling Rossby waves on a
///   global 5 degree grid, in the packed layout of the Climate Data Store;
/// - hyperspectral/maize_field_000.h5 ...: reflectance of maize rows on soil, with labels.
///
/// The same options give the same bytes from the same build. Returns the files written, in a fixed
/// order. Throws ConfigError for sizes that cannot be and RuntimeError naming a file that cannot be
/// written.
std::vector<std::string> write_sample_data(const std::string& directory,
                                           const SampleDataOptions& options = {});

}  // namespace trib::io
