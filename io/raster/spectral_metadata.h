// What GDAL's metadata say of the spectrum of bands: ENVI headers, GeoTIFF items, NetCDF axes.
#pragma once

#include <vector>

#include "io/image.h"

class GDALDataset;

namespace trib::io {

struct BandSpectrum {
  double wavelength_nm = kUnknown, fwhm_nm = kUnknown;
  bool bad = false;
};

/// Wavelength and width of each band, and whether a list of bad bands (bbl) has 0 for it. Read from
/// the items of the band (wavelength, fwhm, bbl as EnMAP-Box writes them, the IMAGERY domain of
/// GDAL 3.10, a NetCDF axis called wavelength), else from the lists of an ENVI header. To be called
/// while holding the dataset's lock.
std::vector<BandSpectrum> band_spectra(GDALDataset& dataset);

/// Factor from stored values to reflectance: 1 over an ENVI header's "reflectance scale factor",
/// which GDAL reads without applying it; 1 if there is none.
double envi_reflectance_scale(GDALDataset& dataset);

}  // namespace trib::io
