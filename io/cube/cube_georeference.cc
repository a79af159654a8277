#include "io/cube/cube_georeference.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "io/text.h"

namespace trib::io {
namespace {

std::optional<double> parse(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return {};
  return value;
}

// NEON's (and ENVI's) map info: projection, column and row of a tie point counted from 1, its
// easting and northing, width and height of a pixel, and perhaps a rotation, which is not read.
std::optional<std::array<double, 6>> map_info_transform(const std::string& map_info) {
  const std::vector<std::string> fields = split_at_commas(map_info);
  if (fields.size() < 7) return {};
  for (const std::string& field : fields) {
    const std::string f = lower(field);
    if (f.starts_with("rotation=") && parse(f.substr(9)).value_or(0) != 0) return {};
  }
  std::array<double, 6> v{};
  for (std::size_t i = 0; i < v.size(); ++i) {
    const auto number = parse(fields[i + 1]);
    if (!number) return {};
    v[i] = *number;
  }
  return std::array<double, 6>{v[2] - (v[0] - 1) * v[4], v[4], 0,
                               v[3] + (v[1] - 1) * v[5], 0,    -v[5]};
}

}  // namespace

std::shared_ptr<const GeoReference> find_georeference(const Hdf5File& file,
                                                      const Hdf5Dataset& dataset) {
  auto geo = std::make_shared<GeoReference>();
  const auto transform = file.numbers(dataset.path, "geotransform");
  if (transform.size() == 6) {
    std::ranges::copy(transform, geo->transform.begin());
    const auto epsg = file.numbers(dataset.path, "epsg");
    if (!epsg.empty()) geo->crs_wkt = fmt::format("EPSG:{:.0f}", epsg[0]);
    return geo;
  }
  for (const Hdf5Dataset& d : file.datasets()) {
    if (d.name() != "Map_Info") continue;
    const auto found = map_info_transform(file.text(d));
    if (!found) return nullptr;
    geo->transform = *found;
    for (const Hdf5Dataset& code : file.datasets()) {
      if (code.name() == "EPSG Code") geo->crs_wkt = "EPSG:" + file.text(code);
    }
    return geo;
  }
  return nullptr;
}

}  // namespace trib::io
