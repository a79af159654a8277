// How a NetCDF variable packs its values, by the attributes of the CF conventions.
#pragma once

#include "io/grid/netcdf_file.h"
#include "io/unpack.h"

namespace trib::io {

/// Type of a variable's elements: `_Unsigned` makes unsigned numbers of signed ones and the other
/// way round. The variable has a numeric type.
DType cf_dtype(const NetcdfFile& file, const NetcdfVariable& variable);

/// Scale, offset, the numbers that mean "missing" (`_FillValue`, `missing_value`, for floats
/// without either libnetcdf's own filling) and the range of those that do not (`valid_range`,
/// `valid_min`, `valid_max`). A range is one of packed numbers unless it is written in the wider
/// type of the unpacked ones (NetCDF User's Guide, Attribute Conventions).
Packing cf_packing(const NetcdfFile& file, const NetcdfVariable& variable);

}  // namespace trib::io
