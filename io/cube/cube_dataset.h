// Which dataset of an HDF5 file is the cube, and what its axes mean.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/cube/hdf5_file.h"

namespace trib::io {

/// "[30, 30, 426]".
std::string shape_text(const Hdf5Dataset& dataset);

/// "/a f32 [2, 2, 2]; /b u8 [2, 2, 2]" of all datasets of a file, or "no datasets".
std::string list_datasets(const Hdf5File& file);

/// The cube: the dataset of this path or, if there is one only, of this last part of the path; the
/// largest dataset of numbers that may be a cube if `wanted` is empty. A cube has three axes, and
/// perhaps a fourth of length 1. Throws ConfigError if the choice is ambiguous, DataError if there
/// is no such cube; both list the candidates.
const Hdf5Dataset& find_cube_dataset(const Hdf5File& file, const std::string& wanted);

/// Positions of rows, columns and channels in a dataset's shape.
struct CubeAxes {
  std::size_t c = 2, y = 0, x = 1;
};

/// The axes as `axes` says, a permutation of "yxc" of those axes that are not the fourth. "auto":
/// as the file names them (an attribute dimension_labels, or dimension scales), else the channel
/// axis is the one as long as the list of wavelengths, and rows come before columns.
/// Throws ConfigError if that leaves a doubt.
CubeAxes find_cube_axes(const Hdf5File& file, const Hdf5Dataset& dataset, const std::string& axes,
                        std::size_t num_wavelengths);

}  // namespace trib::io
