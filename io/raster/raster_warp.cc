#include "io/raster/raster_warp.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <utility>

#include <cpl_conv.h>
#include <cpl_string.h>
#include <fmt/format.h>
#include <gdal_alg.h>
#include <gdal_priv.h>
#include <gdalwarper.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

constexpr double kTransformError = 0.125;  // of a pixel; gdalwarp's default

struct Method {
  const char* name;
  GDALResampleAlg algorithm;
};
constexpr std::array<Method, 9> kMethods = {{{"nearest", GRA_NearestNeighbour},
                                             {"bilinear", GRA_Bilinear},
                                             {"cubic", GRA_Cubic},
                                             {"lanczos", GRA_Lanczos},
                                             {"average", GRA_Average},
                                             {"mode", GRA_Mode},
                                             {"min", GRA_Min},
                                             {"max", GRA_Max},
                                             {"med", GRA_Med}}};

GDALResampleAlg algorithm_of(const std::string& name) {
  const auto found = std::find_if(kMethods.begin(), kMethods.end(),
                                  [&](const Method& method) { return name == method.name; });
  if (found == kMethods.end()) throw RuntimeError(fmt::format("no resampling '{}'", name));
  return found->algorithm;
}

using Transformer = std::unique_ptr<void, void (*)(void*)>;

/// How many pixels one of an overview covers along one side. Its length is rounded up, so that the
/// last one may be a part.
double overview_factor(int stored, int overview) {
  const double ratio = static_cast<double>(stored) / static_cast<double>(overview);
  const double whole = std::round(ratio);
  return std::ceil(stored / whole) == overview ? whole : ratio;
}

/// From pixels of the grid to those of the file, or of its overview by these factors.
Transformer make_transformer(const GdalDataset& source, const Warp& warp,
                             const std::array<double, 2>& factors_xy) {
  GDALDatasetH handle = GDALDataset::ToHandle(&source.gdal());
  CPLStringList options;
  std::array<double, 6> grid = warp.grid.geo.transform;
  if (warp.in_pixels) {
    options.SetNameValue("SRC_METHOD", "NO_GEOTRANSFORM");
    options.SetNameValue("DST_METHOD", "NO_GEOTRANSFORM");
    for (std::size_t i = 0; i < grid.size(); ++i) grid[i] /= factors_xy[i / 3];
  } else if (!warp.grid.geo.crs_wkt.empty()) {
    options.SetNameValue("DST_SRS", warp.grid.geo.crs_wkt.c_str());
  }
  void* exact = GDALCreateGenImgProjTransformer2(handle, nullptr, options.List());
  if (exact == nullptr) return {nullptr, GDALDestroyGenImgProjTransformer};
  GDALSetGenImgProjTransformerDstGeoTransform(exact, grid.data());
  // Rows of a file without a place are straight as they are.
  if (warp.in_pixels) return {exact, GDALDestroyGenImgProjTransformer};
  void* fast = GDALCreateApproxTransformer(GDALGenImgProjTransform, exact, kTransformError);
  GDALApproxTransformerOwnsSubtransformer(fast, TRUE);
  return {fast, GDALDestroyApproxTransformer};
}

/// The largest value of an alpha band.
std::int64_t opaque(GDALDataset& dataset, int number) {
  GDALRasterBand& band = *dataset.GetRasterBand(number);
  int bits = std::min(GDALGetDataTypeSizeBits(band.GetRasterDataType()), 32);
  if (const char* fewer = band.GetMetadataItem("NBITS", "IMAGE_STRUCTURE")) {
    bits = std::clamp(std::atoi(fewer), 1, bits);
  }
  return (std::int64_t{1} << bits) - 1;
}

GDALWarpOptions* make_options(const GdalDataset& source, const Warp& warp, const Codings& codings) {
  const int count = static_cast<int>(codings.size());
  const auto numbers = [&] {
    return static_cast<int*>(CPLMalloc(sizeof(int) * static_cast<std::size_t>(count)));
  };
  const auto reals = [&](double value) {
    auto* list = static_cast<double*>(CPLMalloc(sizeof(double) * static_cast<std::size_t>(count)));
    std::fill_n(list, count, value);
    return list;
  };
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  GDALWarpOptions* options = GDALCreateWarpOptions();
  options->hSrcDS = GDALDataset::ToHandle(&source.gdal());
  options->eResampleAlg = algorithm_of(warp.resampling);
  options->eWorkingDataType = GDT_Float32;
  options->nBandCount = count;
  options->panSrcBands = numbers();
  options->panDstBands = numbers();
  options->padfSrcNoDataReal = reals(kNone);
  options->padfDstNoDataReal = reals(kNone);
  for (int i = 0; i < count; ++i) {
    const BandCoding& coding = codings[static_cast<std::size_t>(i)];
    options->panSrcBands[i] = coding.number;
    options->panDstBands[i] = i + 1;
    if (coding.nodata) options->padfSrcNoDataReal[i] = *coding.nodata;
    if (coding.alpha != 0) options->nSrcAlphaBand = coding.alpha;
  }
  options->papszWarpOptions = CSLSetNameValue(options->papszWarpOptions, "INIT_DEST", "NO_DATA");
  options->papszWarpOptions =
      CSLSetNameValue(options->papszWarpOptions, "UNIFIED_SRC_NODATA", "NO");
  options->papszWarpOptions = CSLSetNameValue(options->papszWarpOptions, "NUM_THREADS", "1");
  if (options->nSrcAlphaBand > 0) {
    options->papszWarpOptions =
        CSLSetNameValue(options->papszWarpOptions, "SRC_ALPHA_MAX",
                        fmt::format("{}", opaque(source.gdal(), options->nSrcAlphaBand)).c_str());
  }
  return options;
}

}  // namespace

std::vector<std::string> resampling_methods() {
  std::vector<std::string> names;
  for (const Method& method : kMethods) names.emplace_back(method.name);
  return names;
}

std::unique_ptr<GdalDataset> open_warped(const std::string& path, const std::string& driver,
                                         const Warp& warp, const Codings& codings) {
  if (std::any_of(codings.begin(), codings.end(), [](const auto& c) { return c.own_mask; })) {
    throw DataError(fmt::format(
        "{}: has a mask for each band, which cannot be brought onto another grid", path));
  }
  if (std::any_of(codings.begin(), codings.end(), [](const auto& c) { return c.signed_bytes; })) {
    throw DataError(fmt::format(
        "{}: holds signed bytes, which this GDAL cannot bring onto another grid; convert them with "
        "gdal_translate -ot Int16",
        path));
  }
  auto source = std::make_unique<GdalDataset>(path, driver, warp.overview);
  const auto guard = source->lock();
  const GdalErrors errors;
  std::array<double, 2> factors_xy = {1, 1};
  if (warp.overview) {
    const GdalDataset full(path, driver);
    factors_xy = {overview_factor(full.gdal().GetRasterXSize(), source->gdal().GetRasterXSize()),
                  overview_factor(full.gdal().GetRasterYSize(), source->gdal().GetRasterYSize())};
  }
  Transformer transformer = make_transformer(*source, warp, factors_xy);
  if (transformer == nullptr) {
    throw DataError(
        fmt::format("{}: cannot be brought onto the grid that is wanted: {}", path, errors.text()));
  }
  GDALWarpOptions* const options = make_options(*source, warp, codings);
  const bool approximates = !warp.in_pixels;
  options->pfnTransformer = approximates ? GDALApproxTransform : GDALGenImgProjTransform;
  options->pTransformerArg = transformer.get();
  std::array<double, 6> transform = warp.grid.geo.transform;
  GDALDatasetH made =
      GDALCreateWarpedVRT(options->hSrcDS, static_cast<int>(warp.grid.extent.width),
                          static_cast<int>(warp.grid.extent.height), transform.data(), options);
  options->pTransformerArg = nullptr;
  GDALDestroyWarpOptions(options);
  if (made == nullptr) {
    throw DataError(
        fmt::format("{}: cannot be brought onto the grid that is wanted: {}", path, errors.text()));
  }
  // The warped dataset has taken the transformer over, and counts a reference to its source, which
  // is ours to close.
  static_cast<void>(transformer.release());
  return std::make_unique<GdalDataset>(std::move(source), GDALDataset::FromHandle(made));
}

Codings warped_codings(Codings codings) {
  int number = 0;
  for (BandCoding& coding : codings) {
    coding.number = ++number;
    coding.nodata = {};
    coding.masked = coding.own_mask = false;
    coding.alpha = 0;
  }
  return codings;
}

std::vector<double> overview_factors(const GdalDataset& dataset) {
  const auto guard = dataset.lock();
  const GdalErrors quiet;
  GDALRasterBand& band = *dataset.gdal().GetRasterBand(1);
  std::vector<double> factors;
  for (int i = 0; i < band.GetOverviewCount(); ++i) {
    GDALRasterBand* const overview = band.GetOverview(i);
    const bool is_there = overview != nullptr && overview->GetXSize() > 0;
    factors.push_back(is_there ? static_cast<double>(band.GetXSize()) /
                                     static_cast<double>(overview->GetXSize())
                               : 0);
  }
  return factors;
}

std::optional<int> choose_overview(const std::vector<double>& factors, double ratio) {
  constexpr double kRounding = 1.01;  // sizes of overviews are rounded
  std::optional<int> best;
  double coarsest = 1;
  for (std::size_t i = 0; i < factors.size(); ++i) {
    if (factors[i] > coarsest && factors[i] <= ratio * kRounding) {
      coarsest = factors[i];
      best = static_cast<int>(i);
    }
  }
  return best;
}

}  // namespace trib::io
