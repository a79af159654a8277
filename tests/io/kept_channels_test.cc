// ImageSource::keep_channels() on real files of each kind: sources that share the channels of one
// together read what one source reads alone.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <numeric>

#include <gtest/gtest.h>

#include "io/cube/cube_source.h"
#include "io/grid/grid_source.h"
#include "io/raster/raster_source.h"
#include "ops/base/error.h"
#include "tests/support/test_data.h"

namespace trib::io {
namespace {

using Open = std::function<std::unique_ptr<ImageSource>()>;

std::vector<std::int64_t> range(std::int64_t begin, std::int64_t end) {
  std::vector<std::int64_t> positions(static_cast<std::size_t>(end - begin));
  std::iota(positions.begin(), positions.end(), begin);
  return positions;
}

void expect_same_record(const Provenance& a, const Provenance& b) {
  EXPECT_EQ(a.file, b.file);
  EXPECT_EQ(a.window, b.window);
  EXPECT_EQ(a.label, b.label);
  EXPECT_TRUE(a.time == b.time || (std::isnan(a.time) && std::isnan(b.time)));
}

/// Channel `c` of `image` has the bits of channel `of_whole` of `whole`.
void expect_same_pixels(const Image& image, std::int64_t c, const Image& whole,
                        std::int64_t of_whole) {
  const Tensor found = image.data_cyx.select(0, c), expected = whole.data_cyx.select(0, of_whole);
  ASSERT_EQ(found.shape(), expected.shape());
  EXPECT_EQ(std::memcmp(found.bytes(), expected.bytes(), expected.nbytes()), 0)
      << "channel " << of_whole;
}

/// Read image `index` of a source whole, in 2 and 3 contiguous parts, in a part with holes and in
/// none. `channel_bytes` are those of a stored value of each channel.
void expect_parts_make_the_whole(const Open& open, std::int64_t index,
                                 const std::vector<std::int64_t>& channel_bytes,
                                 const std::optional<Window>& window = {}) {
  const auto whole = open();
  const auto channels = static_cast<std::int64_t>(whole->channels().size());
  ASSERT_EQ(std::ssize(channel_bytes), channels);
  const Image image = whole->read(index, window);
  const std::int64_t height = image.data_cyx.dim(1), width = image.data_cyx.dim(2);
  EXPECT_EQ(whole->bytes_decoded(),
            std::accumulate(channel_bytes.begin(), channel_bytes.end(), std::int64_t{0}) * height *
                width);

  const auto read_kept = [&](const std::vector<std::int64_t>& kept) {
    const auto source = open();
    source->keep_channels(kept);
    EXPECT_EQ(source->channels().size(), kept.size());
    EXPECT_EQ(source->size(), whole->size());
    EXPECT_EQ(source->extent(index), whole->extent(index));
    expect_same_record(source->provenance(index), whole->provenance(index));
    const Image part = source->read(index, window);
    EXPECT_EQ(part.data_cyx.shape(), (Shape{std::ssize(kept), height, width}));
    expect_same_record(part.provenance, image.provenance);
    std::int64_t bytes = 0;
    for (std::size_t c = 0; c < kept.size(); ++c) {
      const auto original = static_cast<std::size_t>(kept[c]);
      EXPECT_EQ(source->channels()[c].name, whole->channels()[original].name);
      expect_same_pixels(part, static_cast<std::int64_t>(c), image, kept[c]);
      bytes += channel_bytes[original] * height * width;
    }
    EXPECT_EQ(source->bytes_decoded(), bytes);
    return source->bytes_decoded();
  };

  for (const std::int64_t parts : {2, 3}) {
    std::int64_t bytes = 0;
    for (std::int64_t p = 0; p < parts; ++p) {
      bytes += read_kept(range(p * channels / parts, (p + 1) * channels / parts));
    }
    EXPECT_EQ(bytes, whole->bytes_decoded()) << parts << " parts";
  }
  read_kept({channels / 4, channels - 1});
  EXPECT_EQ(read_kept({}), 0);

  // Of what is kept, some may be kept again.
  const auto twice = open();
  twice->keep_channels(range(1, channels));
  const std::vector<std::int64_t> last{channels - 2};
  twice->keep_channels(last);
  expect_same_pixels(twice->read(index, window), 0, image, channels - 1);
  const std::vector<std::int64_t> beyond{1}, backwards{1, 0};
  EXPECT_THROW(twice->keep_channels(beyond), RuntimeError);
  EXPECT_THROW(open()->keep_channels(backwards), RuntimeError);
}

Open raster(const std::string& name, std::vector<std::string> channels = {}) {
  RasterOptions options;
  options.files = {test::data_file(name)};
  options.channels = std::move(channels);
  return [options] { return open_raster(options); };
}

Open cube(const std::string& name, std::vector<std::string> channels = {}) {
  CubeOptions options;
  options.files = {test::data_file(name)};
  options.channels = std::move(channels);
  return [options] { return open_cube(options); };
}

Open grid(const std::vector<std::string>& names, std::vector<std::string> channels = {}) {
  GridOptions options;
  for (const std::string& name : names) options.files.push_back(test::data_file(name));
  options.channels = std::move(channels);
  options.allow_empty_fields = true;
  return [options] { return open_grid(options); };
}

std::vector<std::int64_t> each(std::size_t channels, std::int64_t bytes) {
  return std::vector<std::int64_t>(channels, bytes);
}

TEST(KeptChannels, BandInterleavedRaster) {
  const char* name = "hyperspectral/enmap_tif/enmap_potsdam_tile_128_0.tif";
  TRIB_NEEDS_DATA(name);
  expect_parts_make_the_whole(raster(name), 0, each(224, 4));
  expect_parts_make_the_whole(raster(name, {"200", "10..20", "3"}), 0, each(13, 4),
                              Window{3, 5, 17, 11});
}

TEST(KeptChannels, PixelInterleavedRaster) {
  const char* name = "satellite/landsat_sentinel/S2A1C_20170703_022_Barbellino_TOA_10.tif";
  TRIB_NEEDS_DATA(name);
  expect_parts_make_the_whole(raster(name), 0, each(12, 2));
}

TEST(KeptChannels, MaskedRaster) {
  const char* name = "satellite/geotiff_variants/cog_rgb_mask.tif";
  TRIB_NEEDS_DATA(name);
  expect_parts_make_the_whole(raster(name), 0, each(3, 1));
}

TEST(KeptChannels, RastersOfSeveralCodings) {
  TRIB_NEEDS_DATA("hyperspectral/enmap_tif");
  RasterOptions options;
  options.files = {test::data_file("hyperspectral/enmap_tif/enmap_potsdam_*.tif")};
  options.label_from = "folder";
  options.tile = Extent{16, 16};
  const Open open = [&] { return open_raster(options); };
  ASSERT_EQ(open()->size(), 16);
  expect_parts_make_the_whole(open, 13, each(224, 4));
}

TEST(KeptChannels, Cubes) {
  TRIB_NEEDS_DATA("hyperspectral/neon_sjer_native_426band.h5");
  expect_parts_make_the_whole(cube("hyperspectral/neon_sjer_native_426band.h5"), 0, each(426, 4));
  expect_parts_make_the_whole(cube("hyperspectral/enmap_potsdam_tile_96_96_224band.h5"), 0,
                              each(218, 2), Window{1, 2, 20, 30});
  expect_parts_make_the_whole(
      cube("hyperspectral/jasper_ridge_aviris_198band.h5", {"150..151", "10..13", "101", "4"}), 0,
      each(8, 2));
}

TEST(KeptChannels, LabelsOfCubesStay) {
  const char* name = "hyperspectral/jasper_ridge_aviris_198band.h5";
  TRIB_NEEDS_DATA(name);
  CubeOptions options;
  options.files = {test::data_file(name)};
  options.labels = "labels";
  options.channels = {"1..4"};
  const auto source = open_cube(options);
  const std::int32_t label = source->read(0).provenance.label;
  ASSERT_GE(label, 0);
  const auto none = open_cube(options);
  none->keep_channels({});
  EXPECT_EQ(none->read(0).provenance.label, label);
}

TEST(KeptChannels, FieldsOnLevels) {
  TRIB_NEEDS_DATA("era5/era5_pl_zTuv_8lev_newcds.nc");
  expect_parts_make_the_whole(grid({"era5/era5_pl_zTuv_8lev_newcds.nc"}), 7, each(32, 4));
  TRIB_NEEDS_DATA("era5/era5_tl31_37lev_19590102T00.nc");
  expect_parts_make_the_whole(grid({"era5/era5_tl31_37lev_19590102T00.nc"}, {"t", "q@500,850"}), 0,
                              each(39, 4), Window{2, 3, 20, 30});
}

TEST(KeptChannels, PackedFieldsOfSeveralFiles) {
  TRIB_NEEDS_DATA("era5/era5land_monthly_iberia_cds_packed.nc");
  expect_parts_make_the_whole(grid({"era5/era5land_monthly_iberia_cds_packed.nc"}), 5, each(3, 2));
  TRIB_NEEDS_DATA("era5/era5_eda_zt_500_850_3deg_10mem_4times.nc");
  expect_parts_make_the_whole(grid({"era5/era5_eda_zt_500_850_3deg_10mem_4times.nc"}), 27,
                              each(4, 4));
}

}  // namespace
}  // namespace trib::io
