// The one lock of the HDF5 family.
#pragma once

#include <mutex>

namespace trib::io {

/// The lock to hold around every call into libhdf5 or libnetcdf, whether made directly or through a
/// GDAL driver built on them: libnetcdf is not thread-safe, and its globals and HDF5's are shared
/// by all of these. Hold it for fetching stored bytes, not for decoding them.
std::recursive_mutex& hdf5_family_lock();

}  // namespace trib::io
