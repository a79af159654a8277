// GRIB files of fields on a latitude-longitude grid, editions 1 and 2, read by GDAL.
#pragma once

#include <string>
#include <vector>

#include "io/grid/grid_slab.h"
#include "io/raster/gdal_dataset.h"

namespace trib::io {

/// Headers of a GRIB file: one for the fields that share their times and members, since each field
/// of such a file may come at times of its own. Variables have the names NetCDF files give them (t,
/// z, t2m), levels of pressure are in hPa, times are those the fields are valid at.
/// Throws DataError for damaged files, other grids, and if GDAL cannot read GRIB.
std::vector<GridHeader> read_grib_headers(const std::string& path);

/// Read a window of one field (the first level of the request) of such a header to [y, x]: physical
/// values after `affine`, missing ones NaN. Thread-safe. Throws DataError.
void read_grib_field(GdalPool& pool, const GridHeader& header, const GridVariable& variable,
                     const SlabRequest& request, const Affine& affine, float* out_yx);

}  // namespace trib::io
