// Grids whose chunks are read without libnetcdf, against the same grids read through it.
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netcdf.h>

#include "io/grid/grid_source.h"
#include "io/hdf5_lock.h"
#include "ops/base/error.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace trib::io {
namespace {

void ok(int status) {
  ASSERT_EQ(status, NC_NOERR) << nc_strerror(status);
}

// Two versions of a packed variable [time, expver, level, latitude, longitude] and a plain one, all
// axes descending; chunked and compressed unless the file is classic.
void write(const std::string& path, int mode, const std::vector<std::size_t>& chunks) {
  const std::scoped_lock lock(hdf5_family_lock());
  constexpr std::size_t kTimes = 6, kLevels = 4, kRows = 9, kColumns = 11;
  int file = 0, d[5], axes[4], z = 0, t = 0;
  ok(nc_create(path.c_str(), NC_CLOBBER | mode, &file));
  const char* names[5] = {"time", "expver", "level", "latitude", "longitude"};
  const std::size_t lengths[5] = {kTimes, 2, kLevels, kRows, kColumns};
  for (int i = 0; i < 5; ++i) ok(nc_def_dim(file, names[i], lengths[i], &d[i]));
  const int coordinates[4] = {0, 2, 3, 4};
  for (int i = 0; i < 4; ++i) {
    ok(nc_def_var(file, names[coordinates[i]], NC_DOUBLE, 1, &d[coordinates[i]], &axes[i]));
  }
  const std::string units = "hours since 2020-01-01";
  ok(nc_put_att_text(file, axes[0], "units", units.size(), units.c_str()));
  ok(nc_put_att_text(file, axes[1], "units", 3, "hPa"));
  ok(nc_def_var(file, "z", NC_SHORT, 5, d, &z));
  const double scale = 0.3, offset = 100;
  const short fill = -32767;
  ok(nc_put_att_double(file, z, "scale_factor", NC_DOUBLE, 1, &scale));
  ok(nc_put_att_double(file, z, "add_offset", NC_DOUBLE, 1, &offset));
  ok(nc_put_att_short(file, z, "_FillValue", NC_SHORT, 1, &fill));
  const int surface[3] = {d[0], d[3], d[4]};
  ok(nc_def_var(file, "t2m", NC_FLOAT, 3, surface, &t));
  if (mode == NC_NETCDF4) {
    const std::size_t flat[3] = {chunks[0], chunks[3], chunks[4]};
    ok(nc_def_var_chunking(file, z, NC_CHUNKED, chunks.data()));
    ok(nc_def_var_deflate(file, z, 1, 1, 4));
    ok(nc_def_var_chunking(file, t, NC_CHUNKED, flat));
    ok(nc_def_var_deflate(file, t, 0, 1, 4));
  }
  ok(nc_enddef(file));
  const auto put_axis = [&](int v, std::size_t n, double first, double step) {
    std::vector<double> values(n);
    for (std::size_t i = 0; i < n; ++i) values[i] = first + step * static_cast<double>(i);
    ok(nc_put_var_double(file, v, values.data()));
  };
  put_axis(axes[0], kTimes, 0, 6);
  put_axis(axes[1], kLevels, 200, 200);
  put_axis(axes[2], kRows, 40, -10);
  put_axis(axes[3], kColumns, 100, -5);
  std::minstd_rand random(5);
  std::vector<short> packed(kTimes * 2 * kLevels * kRows * kColumns);
  for (std::size_t i = 0; i < packed.size(); ++i) {
    const std::size_t version = i / (kLevels * kRows * kColumns) % 2;
    const std::size_t time = i / (2 * kLevels * kRows * kColumns);
    // The first version ends where the second begins; some values are missing in both.
    const bool missing = (time < 3) == (version == 1) || random() % 20 == 0;
    packed[i] = missing ? fill : static_cast<short>(random() >> 8 & 4095);
  }
  ok(nc_put_var_short(file, z, packed.data()));
  std::vector<float> plain(kTimes * kRows * kColumns);
  for (float& v : plain) v = static_cast<float>(random() % 1000) / 7;
  ok(nc_put_var_float(file, t, plain.data()));
  ok(nc_close(file));
}

bool same(const Image& a, const Image& b) {
  return a.data_cyx.shape() == b.data_cyx.shape() &&
         std::memcmp(a.data_cyx.bytes(), b.data_cyx.bytes(), a.data_cyx.nbytes()) == 0;
}

TEST(ChunkedGrid, ReadsWhatLibnetcdfReads) {
  const test::TempDir folder;
  const std::string classic = folder.file("classic.nc"), chunked = folder.file("chunked.nc");
  write(classic, NC_64BIT_OFFSET, {});
  for (const std::vector<std::size_t>& chunks :
       {std::vector<std::size_t>{1, 1, 1, 9, 11}, {6, 2, 4, 9, 11}, {4, 2, 3, 5, 4}}) {
    write(chunked, NC_NETCDF4, chunks);
    for (const std::int64_t cache : {0, 5000, 1 << 20}) {
      GridOptions options;
      options.channels = {"z_800", "t2m", "z_200", "z_400"};
      options.files = {classic};
      const auto expected = open_grid(options);
      options.files = {chunked};
      options.cache_bytes = cache;
      const auto found = open_grid(options);
      ASSERT_EQ(found->size(), 6);
      EXPECT_EQ(expected->cache_bytes(), 0);
      EXPECT_LE(found->cache_bytes(), cache);
      const std::optional<Window> windows[] = {{}, Window{2, 3, 4, 5}};
      for (const auto& window : windows) {
        for (std::int64_t i = 0; i < 6; ++i) {
          EXPECT_TRUE(same(found->read(i, window), expected->read(i, window))) << i;
        }
      }
      EXPECT_EQ(found->bytes_decoded(), expected->bytes_decoded());
      const std::vector<Affine> affine{{2, 1}, {0.5, 0}, {1, -3}, {4, 4}};
      std::vector<float> a(4 * 99), b(4 * 99);
      found->read_into(4, {}, {a.data(), affine});
      expected->read_into(4, {}, {b.data(), affine});
      EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
    }
  }
}

TEST(ChunkedGrid, GroupsTimesThatShareChunks) {
  const test::TempDir folder;
  const std::string path = folder.file("chunked.nc");
  write(path, NC_NETCDF4, {4, 2, 3, 5, 4});
  GridOptions options;
  options.files = {path};
  const auto groups = [&](const GridOptions& o) {
    const auto source = open_grid(o);
    std::vector<std::int64_t> all;
    for (std::int64_t i = 0; i < source->size(); ++i) all.push_back(source->group(i));
    return all;
  };
  EXPECT_EQ(groups(options), (std::vector<std::int64_t>{0, 0, 0, 0, 1, 1}));
  const auto limited = open_grid(options);
  limited->limit_cache(1000);
  EXPECT_EQ(limited->cache_bytes(), 1000);
  EXPECT_EQ(limited->group(1), 1);
  options.cache_bytes = 100;  // too little for the chunks of one time
  EXPECT_EQ(groups(options), (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5}));
}

TEST(ChunkedGrid, CacheHoldsNoMoreThanTheFilesDo) {
  TRIB_NEEDS_DATA("era5/era5_wind10m_bengal_newcds_hourly.nc");
  GridOptions options;
  options.files = {test::data_file("era5/era5_wind10m_bengal_newcds_hourly.nc")};
  const auto source = open_grid(options);
  constexpr std::int64_t kOfOne = 30 * 61 * 73 * 4;
  EXPECT_EQ(source->cache_bytes(), 2 * kOfOne);
  EXPECT_EQ(source->group(29), source->group(0));
  source->keep_channels(std::vector<std::int64_t>{1});
  EXPECT_EQ(source->cache_bytes(), kOfOne);
  const std::int64_t before = memory_ledger::use(MemoryKind::ingest).live;
  for (std::int64_t i = 0; i < source->size(); ++i) source->read(i);
  EXPECT_EQ(memory_ledger::use(MemoryKind::ingest).live - before, kOfOne);
}

TEST(ChunkedGrid, ThreadsReadAtOnce) {
  TRIB_NEEDS_DATA("era5/era5_eda_zt_500_850_3deg_10mem_4times.nc");
  GridOptions options;
  options.files = {test::data_file("era5/era5_eda_zt_500_850_3deg_10mem_4times.nc")};
  const auto source = open_grid(options);
  std::vector<Image> images;
  for (std::int64_t i = 0; i < source->size(); ++i) images.push_back(source->read(i));
  options.cache_bytes = 0;
  const auto other = open_grid(options);
  std::vector<std::jthread> threads;
  for (std::int64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::int64_t i = t; i < other->size(); i += 4) {
        EXPECT_TRUE(same(other->read(i), images[static_cast<std::size_t>(i)]));
      }
    });
  }
}

}  // namespace
}  // namespace trib::io
