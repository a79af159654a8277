// The two families of names ERA5 variables go by.
#pragma once

#include <string>
#include <string_view>

namespace trib::io {

/// Short name of a variable (ECMWF's in NetCDF files: "t", "t2m") for a short, GRIB ("2t") or long
/// ("temperature", "2m_temperature") name; the name itself if it is in no table.
std::string short_variable_name(std::string_view name);

/// Long name (CDS and WeatherBench: "temperature", "2m_temperature") of a short or long name; the
/// name itself if it is in no table.
std::string long_variable_name(std::string_view name);

}  // namespace trib::io
