#include "io/raster/spectral_metadata.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include <cpl_string.h>
#include <fmt/format.h>
#include <gdal_priv.h>

namespace trib::io {
namespace {

std::optional<double> number_in(const char* text) {
  if (text == nullptr) return {};
  char* end = nullptr;
  const double value = CPLStrtod(text, &end);
  if (end == text || !std::isfinite(value)) return {};
  return value;
}

// A list of an ENVI header, "{1, 0, 1}"; empty if it is not as long as there are bands.
CPLStringList envi_list(GDALDataset& dataset, const char* key) {
  const char* text = dataset.GetMetadataItem(key, "ENVI");
  CPLStringList items(CSLTokenizeString2(text != nullptr ? text : "", "{}, \t\r\n", 0));
  if (items.size() != dataset.GetRasterCount()) items.Clear();
  return items;
}

// Factor to nanometres of a unit's name; none for wave numbers, indices and the like. Without a
// name values below 100 are micrometres.
std::optional<double> nanometres_per(const char* units, double value) {
  if (units == nullptr || EQUAL(units, "") || EQUAL(units, "unknown")) {
    return value < 100 ? 1000.0 : 1.0;
  }
  if (EQUAL(units, "nm") || STARTS_WITH_CI(units, "nanomet")) return 1;
  if (EQUAL(units, "um") || std::string(units) == "µm" || STARTS_WITH_CI(units, "micromet") ||
      STARTS_WITH_CI(units, "micron")) {
    return 1000;
  }
  return {};
}

// Position of a band along a NetCDF axis called wavelength, "NETCDF_DIM_wavelength=450.2".
std::optional<double> netcdf_wavelength(GDALRasterBand& band, std::string& axis) {
  for (const char* name : {"wavelength", "wavelengths", "Wavelength"}) {
    const auto value = number_in(band.GetMetadataItem(fmt::format("NETCDF_DIM_{}", name).c_str()));
    if (value) {
      axis = name;
      return value;
    }
  }
  return {};
}

// The lists of an ENVI header.
struct EnviLists {
  explicit EnviLists(GDALDataset& dataset)
      : wavelength(envi_list(dataset, "wavelength")),
        fwhm(envi_list(dataset, "fwhm")),
        bbl(envi_list(dataset, "bbl")) {}
  CPLStringList wavelength, fwhm, bbl;
};

// An item of the band itself, else of the list.
std::optional<double> item(GDALRasterBand& band, const char* name, const CPLStringList& list) {
  const auto own = number_in(band.GetMetadataItem(name));
  if (own || list.empty()) return own;
  return number_in(list[band.GetBand() - 1]);
}

BandSpectrum spectrum_of(GDALDataset& dataset, GDALRasterBand& band, const EnviLists& lists) {
  BandSpectrum spectrum;
  spectrum.bad = item(band, "bbl", lists.bbl).value_or(1) == 0;
  if (const auto centre = number_in(band.GetMetadataItem("CENTRAL_WAVELENGTH_UM", "IMAGERY"))) {
    spectrum.wavelength_nm = *centre * 1000;
    const auto fwhm = number_in(band.GetMetadataItem("FWHM_UM", "IMAGERY"));
    if (fwhm) spectrum.fwhm_nm = *fwhm * 1000;
    return spectrum;
  }
  const char* units = band.GetMetadataItem("wavelength_units");
  if (units == nullptr) units = dataset.GetMetadataItem("wavelength_units", "ENVI");
  auto wavelength = item(band, "wavelength", lists.wavelength);
  if (std::string axis; !wavelength && (wavelength = netcdf_wavelength(band, axis))) {
    units = dataset.GetMetadataItem((axis + "#units").c_str());
  }
  if (!wavelength) return spectrum;
  const auto factor = nanometres_per(units, *wavelength);
  if (!factor) return spectrum;
  spectrum.wavelength_nm = *wavelength * *factor;
  if (const auto fwhm = item(band, "fwhm", lists.fwhm)) spectrum.fwhm_nm = *fwhm * *factor;
  return spectrum;
}

}  // namespace

std::vector<BandSpectrum> band_spectra(GDALDataset& dataset) {
  const EnviLists lists(dataset);
  std::vector<BandSpectrum> spectra;
  for (int number = 1; number <= dataset.GetRasterCount(); ++number) {
    spectra.push_back(spectrum_of(dataset, *dataset.GetRasterBand(number), lists));
  }
  return spectra;
}

double envi_reflectance_scale(GDALDataset& dataset) {
  const auto factor = number_in(dataset.GetMetadataItem("reflectance_scale_factor", "ENVI"));
  return factor && *factor > 0 ? 1 / *factor : 1;
}

}  // namespace trib::io
