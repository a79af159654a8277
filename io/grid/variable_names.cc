#include "io/grid/variable_names.h"

namespace trib::io {
namespace {

struct Names {
  std::string_view short_name, long_name, other;
};

// ECMWF parameter database and the CDS catalogue of ERA5; `other` is GRIB's short name or the name
// of a newer CDS where it differs.
constexpr Names kNames[] = {
    // pressure levels
    {"z", "geopotential", ""},
    {"t", "temperature", ""},
    {"u", "u_component_of_wind", ""},
    {"v", "v_component_of_wind", ""},
    {"w", "vertical_velocity", ""},
    {"q", "specific_humidity", ""},
    {"r", "relative_humidity", ""},
    {"d", "divergence", ""},
    {"vo", "vorticity", ""},
    {"pv", "potential_vorticity", ""},
    {"o3", "ozone_mass_mixing_ratio", ""},
    {"cc", "fraction_of_cloud_cover", ""},
    {"ciwc", "specific_cloud_ice_water_content", ""},
    {"clwc", "specific_cloud_liquid_water_content", ""},
    {"crwc", "specific_rain_water_content", ""},
    {"cswc", "specific_snow_water_content", ""},
    // surface and single level
    {"t2m", "2m_temperature", "2t"},
    {"d2m", "2m_dewpoint_temperature", "2d"},
    {"u10", "10m_u_component_of_wind", "10u"},
    {"v10", "10m_v_component_of_wind", "10v"},
    {"u100", "100m_u_component_of_wind", "100u"},
    {"v100", "100m_v_component_of_wind", "100v"},
    {"msl", "mean_sea_level_pressure", ""},
    {"sp", "surface_pressure", ""},
    {"sst", "sea_surface_temperature", ""},
    {"skt", "skin_temperature", ""},
    {"siconc", "sea_ice_cover", "ci"},
    {"tp", "total_precipitation", ""},
    {"cp", "convective_precipitation", ""},
    {"lsp", "large_scale_precipitation", ""},
    {"sf", "snowfall", ""},
    {"sd", "snow_depth", ""},
    {"e", "evaporation", ""},
    {"ro", "runoff", ""},
    {"tcc", "total_cloud_cover", ""},
    {"tcw", "total_column_water", ""},
    {"tcwv", "total_column_water_vapour", ""},
    {"cape", "convective_available_potential_energy", ""},
    {"blh", "boundary_layer_height", ""},
    {"tisr", "toa_incident_solar_radiation", ""},
    {"ssrd", "surface_solar_radiation_downwards", ""},
    {"ssr", "surface_net_solar_radiation", ""},
    {"strd", "surface_thermal_radiation_downwards", ""},
    {"str", "surface_net_thermal_radiation", ""},
    {"ttr", "top_net_thermal_radiation", ""},
    {"slhf", "surface_latent_heat_flux", ""},
    {"sshf", "surface_sensible_heat_flux", ""},
    {"stl1", "soil_temperature_level_1", ""},
    {"swvl1", "volumetric_soil_water_layer_1", ""},
    {"swh", "significant_height_of_combined_wind_waves_and_swell", ""},
    // constants
    {"lsm", "land_sea_mask", ""},
    {"slt", "soil_type", ""},
};

const Names* find(std::string_view name) {
  for (const Names& n : kNames) {
    if (name == n.short_name || name == n.long_name || (!n.other.empty() && name == n.other)) {
      return &n;
    }
  }
  return nullptr;
}

}  // namespace

std::string short_variable_name(std::string_view name) {
  const Names* names = find(name);
  return std::string(names != nullptr ? names->short_name : name);
}

std::string long_variable_name(std::string_view name) {
  const Names* names = find(name);
  return std::string(names != nullptr ? names->long_name : name);
}

}  // namespace trib::io
