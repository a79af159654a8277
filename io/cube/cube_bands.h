// What an HDF5 file says of the bands of its cube: wavelengths, widths, which are bad, scales.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/cube/hdf5_file.h"
#include "io/image.h"
#include "io/unpack.h"

namespace trib::io {

/// Centre wavelengths in nanometres, one for each step along some axis of the dataset; empty if the
/// file gives none. `path` is that of a dataset or an attribute, or empty to look for one called
/// wavelength or the like: an attribute of the cube, the nearest dataset whose length fits, an
/// attribute of the groups around it. Throws DataError for a path that is not there or does not
/// fit.
std::vector<double> find_wavelengths(const Hdf5File& file, const Hdf5Dataset& dataset,
                                     const std::string& path);

/// The channels of a cube, named by wavelength, or "B01", "B02", ... without. Widths are those of a
/// list called fwhm. Bad are bands of a list bbl, good_wavelengths or good_bands (0) or bad_bands
/// (1), in the ranges of NEON's attributes Band_Window_1_Nanometers and so on, flagged in PRISMA's
/// lists, or without a wavelength.
/// Throws DataError if two bands have the same wavelength or a list cannot be understood.
std::vector<Channel> describe_bands(const Hdf5File& file, const Hdf5Dataset& dataset,
                                    const std::vector<double>& wavelengths,
                                    std::int64_t num_channels);

/// How each channel is packed, or all of them (a list of one). A scale_factor beyond 1 divides:
/// NEON stores reflectance times 10000. PRISMA's reflectance lies between the root's attributes
/// L2ScaleVnirMin and L2ScaleVnirMax.
std::vector<Packing> find_packing(const Hdf5File& file, const Hdf5Dataset& dataset,
                                  std::int64_t num_channels);

}  // namespace trib::io
