// Axes: c channel, y row, x column.
#include "io/raster/raster_pixels.h"

#include <limits>

#include <fmt/format.h>
#include <gdal_priv.h>

#include "io/raster/sample_decoding.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

CPLErr raster_io(GDALDataset& dataset, const Window& w, std::vector<int> numbers, float* values) {
  const auto width = static_cast<int>(w.width);
  const auto height = static_cast<int>(w.height);
  const GSpacing pixel = sizeof(float);
  return dataset.RasterIO(GF_Read, static_cast<int>(w.x), static_cast<int>(w.y), width, height,
                          values, width, height, GDT_Float32, static_cast<int>(numbers.size()),
                          numbers.data(), pixel, pixel * width, pixel * width * height, nullptr);
}

/// One read of a file's window.
class WindowRead {
 public:
  WindowRead(const GdalDataset& dataset, const Codings& codings, std::span<const std::string> names,
             const Window& window, float* values_cyx)
      : dataset_(dataset),
        codings_(codings),
        names_(names),
        window_(window),
        pixels_(window.height * window.width),
        values_cyx_(values_cyx) {}

  void read_samples() const {
    std::vector<int> numbers;
    numbers.reserve(codings_.size());
    for (const BandCoding& coding : codings_) numbers.push_back(coding.number);
    const auto guard = dataset_.lock();
    const GdalErrors errors;
    // Some drivers report a failure and return success.
    if (raster_io(dataset_.gdal(), window_, numbers, values_cyx_) != CE_None || errors.any()) {
      fail(errors.text());
    }
  }

  /// Give bytes above 127 the sign that GDAL took from them.
  void restore_signs() const {
    for (std::size_t c = 0; c < codings_.size(); ++c) {
      if (!codings_[c].signed_bytes) continue;
      float* const plane = values_cyx_ + static_cast<std::int64_t>(c) * pixels_;
      for (std::int64_t i = 0; i < pixels_; ++i) plane[i] -= plane[i] > 127 ? 256.0F : 0.0F;
    }
  }

  /// Make missing what the masks of the bands hide.
  void hide_masked() const {
    std::vector<std::uint8_t> mask, alpha;
    for (std::size_t c = 0; c < codings_.size(); ++c) {
      const BandCoding& coding = codings_[c];
      if (!coding.masked) continue;
      GDALDataset& gdal = dataset_.gdal();
      const bool has_mask = coding.own_mask || has_dataset_mask(coding);
      // That of the file is the same for all bands.
      if (has_mask && (mask.empty() || coding.own_mask)) {
        read_mask(*gdal.GetRasterBand(coding.number)->GetMaskBand(), mask);
      }
      if (coding.alpha != 0 && alpha.empty()) {
        GDALRasterBand& band = *gdal.GetRasterBand(coding.alpha);
        read_mask(band, alpha);
      }
      if (has_mask) hide(mask, c);
      if (coding.alpha != 0) hide(alpha, c);
    }
  }

 private:
  /// Alpha bands are read as such, not as the masks GDAL makes of them.
  bool has_dataset_mask(const BandCoding& coding) const {
    const auto guard = dataset_.lock();
    const GdalErrors quiet;
    const int flags = dataset_.gdal().GetRasterBand(coding.number)->GetMaskFlags();
    return (flags & GMF_PER_DATASET) != 0 && (flags & GMF_ALPHA) == 0;
  }

  void read_mask(GDALRasterBand& band, std::vector<std::uint8_t>& mask) const {
    const auto width = static_cast<int>(window_.width);
    const auto height = static_cast<int>(window_.height);
    // As float, since alpha bands may be of any type and their smallest values are not 0 in a byte.
    std::vector<float> opacity(static_cast<std::size_t>(pixels_));
    mask.resize(opacity.size());
    const auto guard = dataset_.lock();
    const GdalErrors errors;
    const CPLErr result =
        band.RasterIO(GF_Read, static_cast<int>(window_.x), static_cast<int>(window_.y), width,
                      height, opacity.data(), width, height, GDT_Float32, 0, 0, nullptr);
    if (result != CE_None || errors.any()) {
      throw DataError(fmt::format("{}: the mask of valid pixels cannot be read in {}: {}",
                                  dataset_.path(), to_string(window_), errors.text()));
    }
    for (std::size_t i = 0; i < opacity.size(); ++i) mask[i] = opacity[i] != 0 ? 1 : 0;
  }

  void hide(const std::vector<std::uint8_t>& mask, std::size_t channel) const {
    float* const plane = values_cyx_ + static_cast<std::int64_t>(channel) * pixels_;
    for (std::size_t i = 0; i < mask.size(); ++i) {
      if (mask[i] == 0) plane[i] = kMissing;
    }
  }

  /// Name the first channel that cannot be read alone.
  [[noreturn]] void fail(const std::string& reason) const {
    std::string channel = names_.front();
    for (std::size_t c = 0; c < codings_.size(); ++c) {
      const GdalErrors errors;
      if (raster_io(dataset_.gdal(), window_, {codings_[c].number}, values_cyx_) != CE_None ||
          errors.any()) {
        channel = names_[c];
        break;
      }
    }
    throw DataError(fmt::format("{}: channel '{}' cannot be read in {}: {}", dataset_.path(),
                                channel, to_string(window_), reason));
  }

  const GdalDataset& dataset_;
  const Codings& codings_;
  std::span<const std::string> names_;
  Window window_;
  std::int64_t pixels_;
  float* values_cyx_;
};

}  // namespace

std::string to_string(const Window& w) {
  return fmt::format("[y {}..{}, x {}..{})", w.y, w.y + w.height, w.x, w.x + w.width);
}

std::int64_t read_pixels(const GdalDataset& dataset, const Codings& codings,
                         std::span<const std::string> names, const Window& window,
                         const PixelTarget& target) {
  const std::int64_t pixels = window.height * window.width;
  const WindowRead read(dataset, codings, names, window, target.data_cyx);
  read.read_samples();
  read.restore_signs();
  std::int64_t sample_bytes = 0;
  for (std::size_t c = 0; c < codings.size(); ++c) {
    decode_samples({codings[c], target.affine.empty() ? Affine{} : target.affine[c]}, pixels,
                   target.data_cyx + static_cast<std::int64_t>(c) * pixels);
    sample_bytes += codings[c].sample_bytes;
  }
  read.hide_masked();
  return pixels * sample_bytes;
}

}  // namespace trib::io
