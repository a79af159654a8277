#include "io/cube/spectral_plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "io/wavelengths.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

const Channel& at(const std::vector<Channel>& bands, std::int64_t i) {
  return bands[static_cast<std::size_t>(i)];
}

void check_any(const std::vector<SpectralChannel>& channels, const std::string& file) {
  if (channels.empty()) {
    throw ConfigError(fmt::format(
        "{}: no channel remains: all selected bands are bad; bad_bands: keep would read them",
        file));
  }
}

// Name channels by wavelength where no name is given.
void name_channels(std::vector<SpectralChannel>& channels) {
  std::vector<Channel> named;
  for (const SpectralChannel& c : channels) named.push_back(c.channel);
  if (!name_by_wavelength(named)) return;
  for (std::size_t i = 0; i < channels.size(); ++i) {
    if (channels[i].channel.name.empty()) channels[i].channel.name = named[i].name;
  }
}

SpectralChannel mean_of(const std::vector<Channel>& bands, const std::vector<std::int64_t>& group) {
  SpectralChannel mean;
  double wavelengths = 0, low = std::numeric_limits<double>::infinity(), high = -low;
  for (const std::int64_t b : group) {
    const Channel& band = at(bands, b);
    if (band.bad) continue;
    mean.bands.push_back(b);
    wavelengths += band.wavelength_nm;
    const double half = std::isnan(band.fwhm_nm) ? 0 : band.fwhm_nm / 2;
    low = std::fmin(low, band.wavelength_nm - half);
    high = std::fmax(high, band.wavelength_nm + half);
  }
  if (mean.bands.empty()) return mean;
  const auto count = static_cast<double>(mean.bands.size());
  mean.weights.assign(mean.bands.size(), static_cast<float>(1 / count));
  mean.channel.units = at(bands, mean.bands.front()).units;
  mean.channel.wavelength_nm = wavelengths / count;
  if (high > low) mean.channel.fwhm_nm = high - low;
  // Without wavelengths a mean is called after its bands.
  if (std::isnan(mean.channel.wavelength_nm)) {
    const std::string& first = at(bands, mean.bands.front()).name;
    const std::string& last = at(bands, mean.bands.back()).name;
    mean.channel.name = first == last ? first : first + "-" + last;
  }
  return mean;
}

}  // namespace

std::vector<SpectralChannel> take_bands(const std::vector<Channel>& bands,
                                        const std::vector<std::int64_t>& selected,
                                        const std::string& file) {
  std::vector<SpectralChannel> channels;
  for (const std::int64_t b : selected) {
    if (!at(bands, b).bad) channels.push_back({at(bands, b), {b}, {1.0F}});
  }
  check_any(channels, file);
  return channels;
}

std::vector<SpectralChannel> bin_bands(const std::vector<Channel>& bands,
                                       const std::vector<std::int64_t>& selected,
                                       std::int64_t count, const std::string& file) {
  std::vector<SpectralChannel> channels;
  std::vector<std::int64_t> group;
  const auto close = [&] {
    SpectralChannel mean = mean_of(bands, group);
    if (std::ssize(mean.bands) * 2 >= count) channels.push_back(std::move(mean));
    group.clear();
  };
  for (const std::int64_t b : selected) {
    if (!group.empty() && (b != group.back() + 1 || std::ssize(group) == count)) close();
    group.push_back(b);
  }
  if (!group.empty()) close();
  check_any(channels, file);
  name_channels(channels);
  return channels;
}

std::vector<SpectralChannel> resample_bands(const std::vector<Channel>& bands,
                                            const std::vector<std::int64_t>& selected,
                                            const std::vector<SpectralTarget>& targets,
                                            const std::string& file) {
  constexpr double kReach = 2;  // in widths; the response there is 2^-16
  std::vector<std::int64_t> usable;
  for (const std::int64_t b : selected) {
    if (std::isfinite(spectral_distance(at(bands, b), 0))) usable.push_back(b);
  }
  std::ranges::sort(usable);
  if (usable.empty()) {
    throw ConfigError(fmt::format(
        "{}: resampling needs bands of known wavelength that are not bad, there is none", file));
  }
  std::vector<SpectralChannel> channels;
  for (const SpectralTarget& target : targets) {
    const auto distance = [&](std::int64_t b) {
      return spectral_distance(at(bands, b), target.centre_nm);
    };
    const std::int64_t nearest = std::ranges::min(usable, {}, distance);
    if (distance(nearest) > target.fwhm_nm) {
      throw ConfigError(fmt::format(
          "{}: no usable band lies within {:g}nm (one width) of the centre {:g}nm; the nearest is "
          "{}",
          file, target.fwhm_nm, target.centre_nm, at(bands, nearest).name));
    }
    SpectralChannel channel;
    std::vector<double> weights;
    for (const std::int64_t b : usable) {
      const double widths = distance(b) / target.fwhm_nm;
      if (widths > kReach) continue;
      channel.bands.push_back(b);
      weights.push_back(std::exp2(-4 * widths * widths));
    }
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (const double w : weights) channel.weights.push_back(static_cast<float>(w / sum));
    channel.channel.name = target.name;
    channel.channel.units = at(bands, nearest).units;
    channel.channel.wavelength_nm = target.centre_nm;
    channel.channel.fwhm_nm = target.fwhm_nm;
    channels.push_back(std::move(channel));
  }
  name_channels(channels);
  return channels;
}

}  // namespace trib::io
