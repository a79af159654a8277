#include "io/grid/standard_names.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace trib::io {
namespace {

// As in the ECMWF's parameter database and the files of the Climate Data Store. Heights above the
// ground ("t2m") are not part of a standard name, so that these have the one of the quantity.
constexpr std::pair<std::string_view, std::string_view> kNames[] = {
    {"z", "geopotential"},
    {"t", "air_temperature"},
    {"u", "eastward_wind"},
    {"v", "northward_wind"},
    {"w", "lagrangian_tendency_of_air_pressure"},
    {"q", "specific_humidity"},
    {"r", "relative_humidity"},
    {"d", "divergence_of_wind"},
    {"vo", "atmosphere_relative_vorticity"},
    {"o3", "mass_fraction_of_ozone_in_air"},
    {"cc", "cloud_area_fraction_in_atmosphere_layer"},
    {"t2m", "air_temperature"},
    {"d2m", "dew_point_temperature"},
    {"u10", "eastward_wind"},
    {"v10", "northward_wind"},
    {"u100", "eastward_wind"},
    {"v100", "northward_wind"},
    {"msl", "air_pressure_at_mean_sea_level"},
    {"sp", "surface_air_pressure"},
    {"sst", "sea_surface_temperature"},
    {"skt", "surface_temperature"},
    {"siconc", "sea_ice_area_fraction"},
    {"tcc", "cloud_area_fraction"},
    {"tcwv", "atmosphere_mass_content_of_water_vapor"},
    {"blh", "atmosphere_boundary_layer_thickness"},
    {"lsm", "land_binary_mask"},
};

}  // namespace

std::string standard_name(std::string_view short_name) {
  const auto* found = std::find_if(std::begin(kNames), std::end(kNames),
                                   [&](const auto& entry) { return entry.first == short_name; });
  return found == std::end(kNames) ? std::string() : std::string(found->second);
}

}  // namespace trib::io
