# Everything the project links, in one place; the packages are listed in cmake/packages.txt. Also
# read by programs that link the installed libraries.

include(GNUInstallDirs)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(TBB REQUIRED)
find_package(MPI REQUIRED COMPONENTS C)
find_package(fmt REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(GDAL REQUIRED)
find_package(HDF5 REQUIRED COMPONENTS C)
pkg_check_modules(netcdf REQUIRED IMPORTED_TARGET netcdf)
pkg_check_modules(hwloc REQUIRED IMPORTED_TARGET hwloc)
pkg_check_modules(zlib REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(libdeflate REQUIRED IMPORTED_TARGET libdeflate)
pkg_check_modules(libzstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)

# The pthread build is asked for by its own name: the "blas" alternative may point elsewhere, and
# its thread count must be ours to set (OpenMP builds ignore openblas_set_num_threads).
find_library(TRIB_OPENBLAS NAMES openblas PATH_SUFFIXES openblas-pthread REQUIRED)
find_path(TRIB_OPENBLAS_INCLUDE cblas.h PATH_SUFFIXES openblas-pthread REQUIRED)

# Optional: bfloat16 products on processors with AMX. By library and header, because the package's
# own CMake file wants OpenCL, which nothing here uses. The OpenMP runtime it comes with must be told
# to open no threads.
set(TRIB_ONEDNN AUTO CACHE STRING "Use oneDNN for bfloat16 products: AUTO (if found), ON or OFF")
set_property(CACHE TRIB_ONEDNN PROPERTY STRINGS AUTO ON OFF)
set(TRIB_ONEDNN_LIBRARIES "")
if(NOT TRIB_ONEDNN STREQUAL "OFF")
  find_library(TRIB_DNNL dnnl)
  find_path(TRIB_DNNL_INCLUDE oneapi/dnnl/dnnl.hpp)
  set(is_known_onednn OFF)
  if(TRIB_DNNL AND TRIB_DNNL_INCLUDE)
    # Version 2 with OpenMP: 3 has another interface, TBB's threads could not be kept out.
    file(STRINGS ${TRIB_DNNL_INCLUDE}/oneapi/dnnl/dnnl_version.h major REGEX "VERSION_MAJOR +2$")
    file(STRINGS ${TRIB_DNNL_INCLUDE}/oneapi/dnnl/dnnl_config.h openmp
         REGEX "CPU_THREADING_RUNTIME DNNL_RUNTIME_OMP")
    if(major AND openmp)
      set(is_known_onednn ON)
    endif()
  endif()
  if(is_known_onednn)
    set(TRIB_ONEDNN_LIBRARIES ${TRIB_DNNL} gomp)
  elseif(NOT TRIB_ONEDNN STREQUAL "AUTO")
    message(FATAL_ERROR "TRIB_ONEDNN=${TRIB_ONEDNN}: oneDNN 2 with OpenMP was not found (package libdnnl-dev)")
  endif()
endif()
