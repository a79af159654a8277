// TIFF blocks read without GDAL, against GDAL reading the same windows of the same files.
#include "io/raster/tiff_tiles.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <gdal_priv.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/chunks/stored_file.h"
#include "io/raster/raster_source.h"
#include "ops/base/error.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace trib::io {
namespace {

using Outcome = TiffTiles::Outcome;

constexpr std::int64_t kCache = std::int64_t{1} << 20;

/// How a test's file is written.
struct Variant {
  GDALDataType type;
  const char* interleave;
  const char* compress;
  int predictor;
  const char* layout;  // "TILED=YES", "BLOCKYSIZE=7"
  const char* endianness;
  bool big;
  int bands;
};

std::string name_of(const Variant& v) {
  return fmt::format("{} {} {} predictor {} {} {} {} {} bands", GDALGetDataTypeName(v.type),
                     v.interleave, v.compress, v.predictor, v.layout, v.endianness,
                     v.big ? "BigTIFF" : "classic", v.bands);
}

/// Smooth values with noise and extremes, as doubles that the type can hold.
double value_at(GDALDataType type, int band, int y, int x, std::mt19937& random) {
  const double smooth = 100 + 60 * std::sin(0.1 * y + band) + 40 * std::cos(0.07 * x);
  const double noise = std::uniform_real_distribution<>(-8, 8)(random);
  const int kind = static_cast<int>(random() % 200);
  switch (type) {
    case GDT_Byte:
      return std::floor(smooth + noise);
    case GDT_Int16:
    case GDT_Int32:
    case GDT_Int64:
      return kind == 0 ? -32768 : std::floor(10 * (smooth + noise) - 700);
    case GDT_UInt16:
      return kind == 0 ? 65535 : std::floor(40 * (smooth + noise));
    case GDT_UInt32:
    case GDT_UInt64:
      return kind == 0 ? 4294967295.0 : std::floor(4e5 * (smooth + noise));
    case GDT_Float64:
      if (kind == 1) return 3.5e38;
      if (kind == 2) return -1e300;
      if (kind == 3) return 3.4028235e38;
      [[fallthrough]];
    default:
      return kind == 0 ? std::nan("") : smooth + noise;
  }
}

/// Write a file of `height` x `width` pixels. Bands have scales, offsets and a nodata value.
void write_tiff(const std::string& path, const Variant& v, int height, int width,
                std::uint32_t seed) {
  prepare_gdal();
  std::vector<std::string> items = {
      fmt::format("INTERLEAVE={}", v.interleave), fmt::format("COMPRESS={}", v.compress), v.layout,
      fmt::format("ENDIANNESS={}", v.endianness), fmt::format("BIGTIFF={}", v.big ? "YES" : "NO")};
  if (std::string(v.layout) == "TILED=YES") {
    items.insert(items.end(), {"BLOCKXSIZE=32", "BLOCKYSIZE=16"});
  }
  if (v.predictor > 1) items.push_back(fmt::format("PREDICTOR={}", v.predictor));
  std::vector<char*> options;
  for (std::string& item : items) options.push_back(item.data());
  options.push_back(nullptr);
  GDALDriver* driver = GetGDALDriverManager()->GetDriverByName("GTiff");
  GDALDataset* dataset =
      driver->Create(path.c_str(), width, height, v.bands, v.type, options.data());
  ASSERT_NE(dataset, nullptr) << name_of(v);
  std::mt19937 random(seed);
  std::vector<double> plane(static_cast<std::size_t>(height * width));
  for (int band = 1; band <= v.bands; ++band) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        plane[static_cast<std::size_t>(y * width + x)] = value_at(v.type, band, y, x, random);
      }
    }
    GDALRasterBand* target = dataset->GetRasterBand(band);
    ASSERT_EQ(target->RasterIO(GF_Write, 0, 0, width, height, plane.data(), width, height,
                               GDT_Float64, 0, 0, nullptr),
              CE_None);
    target->SetNoDataValue(120);
    if (band % 2 == 0) {
      target->SetScale(1e-4);
      target->SetOffset(-0.1 * band);
    }
  }
  GDALClose(dataset);
}

std::vector<BandCoding> codings_of(const GdalDataset& dataset) {
  std::vector<BandCoding> codings;
  for (const RasterBand& band : describe_bands(dataset)) codings.push_back(band.coding);
  return codings;
}

/// The naive way: GDAL converts to float, each pixel is decoded by itself.
bool read_with_gdal(const GdalDataset& dataset, const Window& w,
                    const std::vector<BandCoding>& bands, const std::vector<Affine>& affine,
                    std::vector<float>& values) {
  const GdalErrors errors;
  const auto width = static_cast<int>(w.width), height = static_cast<int>(w.height);
  const auto plane = static_cast<std::size_t>(w.height * w.width);
  for (std::size_t c = 0; c < bands.size(); ++c) {
    const BandCoding& coding = bands[c];
    float* out = values.data() + c * plane;
    if (dataset.gdal()
                .GetRasterBand(coding.number)
                ->RasterIO(GF_Read, static_cast<int>(w.x), static_cast<int>(w.y), width, height,
                           out, width, height, GDT_Float32, 0, 0, nullptr) != CE_None ||
        errors.any()) {
      return false;
    }
    const double scale = coding.scale * affine[c].scale;
    const double offset = coding.offset * affine[c].scale + affine[c].offset;
    for (std::size_t i = 0; i < plane; ++i) {
      const float stored = out[i];
      if (scale != 1 || offset != 0) out[i] = static_cast<float>(std::fma(stored, scale, offset));
      if (coding.nodata && stored == *coding.nodata) out[i] = std::nanf("");
    }
  }
  return true;
}

/// Whether arrays agree: bit for bit, but for the bits of NaN and the one rounding of a product
/// that a machine without fused arithmetic has in addition.
bool agree(const std::vector<float>& a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) != std::isnan(b[i])) return false;
// Instrumented code may round a product before the sum in one place and not in another.
#if defined(__FMA__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (!std::isnan(a[i]) && std::memcmp(&a[i], &b[i], sizeof(float)) != 0) return false;
#else
    if (!std::isnan(a[i]) && std::abs(a[i] - b[i]) > 1e-6F * std::abs(a[i]) + 1e-9F) return false;
#endif
  }
  return true;
}

Window random_window(const Extent& image, std::mt19937& random) {
  const auto below = [&](std::int64_t bound) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(bound));
  };
  Window w;
  w.y = below(image.height);
  w.x = below(image.width);
  w.height = 1 + below(image.height - w.y);
  w.width = 1 + below(image.width - w.x);
  return w;
}

std::vector<std::string> names_of(const std::vector<BandCoding>& bands) {
  std::vector<std::string> names;
  for (const BandCoding& band : bands) names.push_back(fmt::format("B{:02}", band.number));
  return names;
}

/// What reading random windows of random bands of a file both ways came to.
struct Comparison {
  int done = 0, left = 0, damaged = 0;
};

Comparison compare(const std::string& path, int windows, std::uint32_t seed,
                   std::int64_t max_side = 1 << 20) {
  Comparison comparison;
  const GdalDataset dataset(path);
  const std::vector<BandCoding> all = codings_of(dataset);
  const std::optional<TiffShape> shape = find_tiff_shape(dataset);
  const TiffTiles tiles({{path, shape}}, kCache);
  std::mt19937 random(seed);
  for (int i = 0; i < windows; ++i) {
    Extent image{dataset.gdal().GetRasterYSize(), dataset.gdal().GetRasterXSize()};
    Window w = random_window(image, random);
    w.height = std::min(w.height, max_side);
    w.width = std::min(w.width, max_side);
    std::vector<BandCoding> bands;
    std::vector<Affine> affine;
    for (std::size_t b = 0; b < all.size(); ++b) {
      if (random() % 2 == 0 && !(bands.empty() && b + 1 == all.size())) continue;
      bands.push_back(all[b]);
      affine.push_back(random() % 2 == 0 ? Affine{} : Affine{0.5, -3});
    }
    if (random() % 2 == 0) std::reverse(bands.begin(), bands.end());
    const auto count = static_cast<std::size_t>(w.height * w.width) * bands.size();
    std::vector<float> own(count, -1), gdal(count, -2);
    Outcome outcome = Outcome::damaged;
    try {
      outcome = tiles.read(0, w, bands, names_of(bands), {own.data(), affine});
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("cannot be read in [y "));
    }
    switch (outcome) {
      case Outcome::done:
        ++comparison.done;
        EXPECT_TRUE(read_with_gdal(dataset, w, bands, affine, gdal)) << path;
        EXPECT_TRUE(agree(own, gdal))
            << path << " window " << w.y << " " << w.x << " " << w.height << " " << w.width;
        break;
      case Outcome::left_to_gdal:
        ++comparison.left;
        break;
      case Outcome::damaged:
        ++comparison.damaged;
        break;
    }
  }
  return comparison;
}

TEST(TiffTiles, EqualsGdalForAllKindsOfFiles) {
  const test::TempDir dir;
  const std::string path = dir.path() + "/a.tif";
  std::mt19937 random(20);
  int files = 0;
  const GDALDataType types[] = {GDT_Byte,  GDT_UInt16, GDT_Int16,   GDT_UInt32, GDT_Int32,
                                GDT_Int64, GDT_UInt64, GDT_Float32, GDT_Float64};
  for (const GDALDataType type : types) {
    for (const char* compress : {"NONE", "DEFLATE", "ZSTD", "LZW"}) {
      for (int predictor = 1; predictor <= 3; ++predictor) {
        const bool is_float = GDALDataTypeIsFloating(type) != 0;
        if (predictor > 1 && std::string(compress) == "NONE") continue;
        if (predictor == 3 && !is_float) continue;
        if (predictor == 2 && GDALGetDataTypeSizeBytes(type) == 8)
          continue;  // not in every libtiff
        for (const char* interleave : {"PIXEL", "BAND"}) {
          const int bands[] = {1, 2, 3, 4, 5, 7, 13, 20, 40};
          const Variant variant{type,
                                interleave,
                                compress,
                                predictor,
                                random() % 2 == 0 ? "TILED=YES" : "BLOCKYSIZE=7",
                                random() % 3 == 0 ? "BIG" : "LITTLE",
                                random() % 4 == 0,
                                bands[random() % std::size(bands)]};
          SCOPED_TRACE(name_of(variant));
          write_tiff(path, variant, 53, 70, static_cast<std::uint32_t>(random()));
          EXPECT_EQ(compare(path, 4, static_cast<std::uint32_t>(random())).done, 4);
          ++files;
        }
      }
    }
  }
  EXPECT_GT(files, 100);
}

TEST(TiffTiles, UndoesPredictionForAnyNumberOfBands) {
  const test::TempDir dir;
  const std::string path = dir.path() + "/a.tif";
  for (const GDALDataType type : {GDT_Byte, GDT_UInt16, GDT_Float32}) {
    for (int bands = 1; bands <= 70; bands += bands < 18 ? 1 : 13) {
      for (const int width : {1, 2, 33}) {
        const Variant variant{type, "PIXEL", "DEFLATE", 2, "BLOCKYSIZE=3", "LITTLE", false, bands};
        SCOPED_TRACE(name_of(variant) + fmt::format(", {} wide", width));
        write_tiff(path, variant, 7, width, 3);
        EXPECT_EQ(compare(path, 2, 5).done, 2);
      }
    }
  }
}

TEST(TiffTiles, EqualsGdalOnRealFiles) {
  TRIB_NEEDS_DATA("satellite");
  int read = 0, left = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(test::data_file("satellite"))) {
    const std::string path = entry.path().string();
    if (!entry.is_regular_file() || path.find("/corrupt/") != std::string::npos) continue;
    if (!path.ends_with(".tif") && !path.ends_with(".tiff")) continue;
    SCOPED_TRACE(path);
    const Comparison comparison = compare(path, 4, 7, 300);
    EXPECT_EQ(comparison.damaged, 0);
    (comparison.done == 4 ? read : left) += 1;
  }
  EXPECT_GE(read, 30);
  EXPECT_GE(left, 4);  // JPEG, PackBits
}

TEST(TiffTiles, LeavesBlocksThatAreNotStoredToGdal) {
  const test::TempDir dir;
  const std::string path = dir.path() + "/sparse.tif";
  prepare_gdal();
  const char* options[] = {"SPARSE_OK=TRUE", "TILED=YES",        "BLOCKXSIZE=16",
                           "BLOCKYSIZE=16",  "COMPRESS=DEFLATE", nullptr};
  GDALDataset* dataset = GetGDALDriverManager()->GetDriverByName("GTiff")->Create(
      path.c_str(), 64, 64, 1, GDT_Byte, const_cast<char**>(options));
  dataset->GetRasterBand(1)->SetNoDataValue(9);
  std::vector<std::uint8_t> block(16 * 16, 5);
  ASSERT_EQ(dataset->GetRasterBand(1)->RasterIO(GF_Write, 16, 16, 16, 16, block.data(), 16, 16,
                                                GDT_Byte, 0, 0, nullptr),
            CE_None);
  GDALClose(dataset);

  const GdalDataset opened(path);
  const TiffTiles tiles({{path, find_tiff_shape(opened)}}, kCache);
  const std::vector<BandCoding> bands = codings_of(opened);
  std::vector<float> values(64 * 64);
  EXPECT_EQ(tiles.read(0, {20, 20, 8, 8}, bands, names_of(bands), {values.data()}), Outcome::done);
  EXPECT_EQ(values[0], 5);
  EXPECT_EQ(tiles.read(0, {10, 20, 16, 8}, bands, names_of(bands), {values.data()}),
            Outcome::left_to_gdal);

  RasterOptions reading;
  reading.files = {path};
  const Image image = open_raster(reading)->read(0);
  for (std::int64_t i = 0; i < 64 * 64; ++i) {
    const bool stored = i / 64 / 16 == 1 && i % 64 / 16 == 1;
    const float value = image.data_cyx.data<float>()[i];
    ASSERT_TRUE(stored ? value == 5 : std::isnan(value)) << i;
  }
}

TEST(TiffTiles, SharesDecodedBlocksAmongThreadsWithinItsBounds) {
  const test::TempDir dir;
  const std::string path = dir.path() + "/a.tif";
  const Variant variant{GDT_UInt16, "PIXEL", "DEFLATE", 2, "TILED=YES", "LITTLE", false, 5};
  write_tiff(path, variant, 256, 256, 1);
  const GdalDataset dataset(path);
  const std::vector<BandCoding> bands = codings_of(dataset);
  const std::optional<TiffShape> shape = find_tiff_shape(dataset);
  ASSERT_TRUE(shape);
  const std::int64_t all_bytes = 256 * 256 * 5 * 2;
  EXPECT_EQ(shape->cached_bytes, all_bytes);
  // No more than the file holds.
  EXPECT_EQ(TiffTiles({{path, shape}}, kCache).cache_bytes(), all_bytes);
  EXPECT_EQ(TiffTiles({{path, std::nullopt}}, kCache).cache_bytes(), 0);
  TiffTiles limited({{path, shape}}, kCache);
  limited.limit_cache(1000);
  EXPECT_EQ(limited.cache_bytes(), 1000);
  limited.limit_cache(2000);
  EXPECT_EQ(limited.cache_bytes(), 1000);

  for (const std::int64_t bytes : {std::int64_t{0}, all_bytes / 5, all_bytes}) {
    const TiffTiles tiles({{path, shape}}, bytes);
    std::vector<std::thread> threads;
    for (std::uint32_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 random(t);
        const GdalDataset own(path);
        const std::vector<Affine> affine(bands.size());
        for (int i = 0; i < 50; ++i) {
          Window w = random_window({256, 256}, random);
          w.height = std::min<std::int64_t>(w.height, 40);
          w.width = std::min<std::int64_t>(w.width, 40);
          const auto count = static_cast<std::size_t>(w.height * w.width) * bands.size();
          std::vector<float> values(count), expected(count);
          EXPECT_EQ(tiles.read(0, w, bands, names_of(bands), {values.data(), affine}),
                    Outcome::done);
          EXPECT_TRUE(read_with_gdal(own, w, bands, affine, expected));
          EXPECT_TRUE(agree(values, expected));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_LE(tiles.cache().bytes(), bytes);
    if (bytes == all_bytes) {
      EXPECT_LE(tiles.cache().misses(), 256 / 16 * 256 / 32);  // each block once
    }
  }
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// Reading a damaged file by the source: its error, or "" if it could be read.
std::string error_of(const std::string& path, const Window& window) {
  RasterOptions options;
  options.files = {path};
  try {
    open_raster(options)->read(0, window);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(TiffTiles, FindsFlippedBitsOfDeflatedBlocks) {
  const test::TempDir dir;
  const std::string path = dir.path() + "/a.tif";
  const Variant variant{GDT_UInt16, "PIXEL", "DEFLATE", 2, "TILED=YES", "LITTLE", false, 3};
  write_tiff(path, variant, 53, 70, 1);
  const std::string good = read_file(path);
  const std::optional<TiffLayout> layout = read_tiff_layout(StoredFile(path));
  ASSERT_TRUE(layout);
  std::mt19937 random(8);
  int found = 0;
  constexpr int kFlips = 60;
  for (int i = 0; i < kFlips; ++i) {
    std::string bad = good;
    const std::size_t block = random() % layout->offsets.size();
    const std::size_t at = layout->offsets[block] + random() % layout->sizes[block];
    bad[at] = static_cast<char>(bad[at] ^ (1 << random() % 8));
    write_file(path, bad);
    const std::string error = error_of(path, {0, 0, 53, 70});
    if (error.empty()) continue;
    ++found;
    EXPECT_THAT(error, testing::AllOf(testing::HasSubstr("a.tif"),
                                      testing::HasSubstr("[y 0..53, x 0..70)")));
  }
  EXPECT_EQ(found, kFlips);
}

TEST(TiffTiles, AgreesWithGdalOnDamagedFiles) {
  const test::TempDir dir;
  const std::string path = dir.path() + "/a.tif";
  const Variant variants[] = {
      {GDT_UInt16, "PIXEL", "DEFLATE", 2, "TILED=YES", "LITTLE", false, 3},
      {GDT_Float32, "BAND", "LZW", 3, "BLOCKYSIZE=7", "BIG", true, 2},
      {GDT_Int16, "BAND", "ZSTD", 1, "TILED=YES", "LITTLE", false, 2},
      {GDT_Byte, "PIXEL", "NONE", 1, "BLOCKYSIZE=7", "BIG", false, 3},
      {GDT_Byte, "PIXEL", "LZW", 1, "TILED=YES", "LITTLE", false, 1},
  };
  std::mt19937 random(31);
  int done = 0, damaged = 0, refused = 0;
  for (const Variant& variant : variants) {
    SCOPED_TRACE(name_of(variant));
    write_tiff(path, variant, 53, 70, 2);
    const std::string good = read_file(path);
    for (int i = 0; i < 150; ++i) {
      std::string bad = good;
      if (i % 3 == 0) {
        bad.resize(random() % bad.size());
      } else {
        // Half of them in the header and directory.
        const std::size_t range = i % 3 == 1 ? std::min<std::size_t>(bad.size(), 700) : bad.size();
        const std::size_t at = random() % range;
        bad[at] = static_cast<char>(bad[at] ^ (1 << random() % 8));
      }
      write_file(path, bad);
      try {
        const Comparison comparison = compare(path, 1, static_cast<std::uint32_t>(i), 200);
        done += comparison.done;
        damaged += comparison.damaged;
      } catch (const DataError&) {
        ++refused;  // GDAL does not open it
      }
    }
  }
  EXPECT_GT(done, 50);
  EXPECT_GT(damaged, 50);
  EXPECT_GT(refused, 20);
}

TEST(TiffTiles, ReadsLastStripsThatGoOnBelowTheImage) {
  const test::TempDir dir;
  const std::string path = dir.path() + "/a.tif";
  const Variant variant{GDT_Byte, "PIXEL", "DEFLATE", 1, "BLOCKYSIZE=7", "LITTLE", false, 1};
  write_tiff(path, variant, 14, 70, 1);
  std::string bytes = read_file(path);
  // ImageLength (257), SHORT, 1 value: 14 -> 12.
  const std::string entry("\x01\x01\x03\x00\x01\x00\x00\x00\x0e\x00", 10);
  const std::size_t at = bytes.find(entry);
  ASSERT_NE(at, std::string::npos);
  bytes[at + 8] = 12;
  write_file(path, bytes);
  EXPECT_EQ(compare(path, 20, 0).done, 20);
}

TEST(TiffTiles, LeavesAFileToGdalThatItCanReadAfterAll) {
  // LZW codes in the order of old writers: no writer is left, so this one only begins like them.
  const test::TempDir dir;
  const std::string path = dir.file("a.tif");
  const Variant variant{GDT_Byte, "PIXEL", "LZW", 1, "BLOCKYSIZE=7", "LITTLE", false, 1};
  write_tiff(path, variant, 14, 70, 1);
  std::string bytes = read_file(path);
  const std::optional<TiffLayout> layout = read_tiff_layout(StoredFile(path));
  ASSERT_TRUE(layout);
  bytes[layout->offsets[0]] = 0;
  bytes[layout->offsets[0] + 1] = 1;
  write_file(path, bytes);
  EXPECT_GT(compare(path, 20, 0).damaged, 0);
  const GdalDataset dataset(path);
  std::vector<float> expected(14 * 70);
  const bool readable =
      read_with_gdal(dataset, {0, 0, 14, 70}, codings_of(dataset), {Affine{}}, expected);
  RasterOptions options;
  options.files = {path};
  const auto source = open_raster(options);
  for (int i = 0; i < 2; ++i) {
    if (!readable) {
      EXPECT_THROW(source->read(0), DataError);
      continue;
    }
    const Image image = source->read(0);
    const float* values = image.data_cyx.data<float>();
    EXPECT_TRUE(agree({values, values + expected.size()}, expected));
  }
}

}  // namespace
}  // namespace trib::io
