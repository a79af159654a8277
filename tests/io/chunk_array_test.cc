#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <zstd.h>

#include "io/chunks/hdf5_array.h"
#include "io/cube/hdf5_file.h"
#include "io/file_kind.h"
#include "io/hdf5_lock.h"
#include "ops/base/error.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace trib::io {
namespace {

using test::TempDir;

// How a dataset of a test is stored.
struct Storage {
  hid_t type = H5T_NATIVE_FLOAT;
  std::vector<hsize_t> shape, chunks;
  bool shuffle = false, deflate = false, checksum = false, zstd = false;
  bool latest_format = false;
  hsize_t userblock = 0;
  double fill = 0;
  std::vector<hsize_t> written;  // part from the start, all if empty
};

std::vector<double> numbers(std::size_t count, unsigned seed) {
  std::minstd_rand random(seed);
  std::vector<double> values(count);
  for (double& v : values) v = static_cast<double>(random() >> 5 & 127);
  return values;
}

std::size_t product(const std::vector<hsize_t>& extents) {
  return std::accumulate(extents.begin(), extents.end(), std::size_t{1}, std::multiplies<>());
}

// Write dataset "d" and give what is to be read from it.
std::vector<double> write(const std::string& path, const Storage& s, unsigned seed = 1) {
  const std::scoped_lock lock(hdf5_family_lock());
  const hid_t creation = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
  if (s.userblock > 0) H5Pset_userblock(creation, s.userblock);
  if (s.latest_format) H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, access);
  const int rank = static_cast<int>(s.shape.size());
  const hid_t space = H5Screate_simple(rank, s.shape.data(), nullptr);
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  if (!s.chunks.empty()) H5Pset_chunk(properties, rank, s.chunks.data());
  if (s.shuffle) H5Pset_shuffle(properties);
  if (s.deflate) H5Pset_deflate(properties, 4);
  if (s.checksum) H5Pset_fletcher32(properties);
  H5Pset_fill_value(properties, H5T_NATIVE_DOUBLE, &s.fill);
  const hid_t set = H5Dcreate2(file, "d", s.type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  EXPECT_GE(set, 0);
  std::vector<double> values = numbers(product(s.shape), seed);
  if (s.written.empty()) {
    EXPECT_GE(H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  } else {
    const std::vector<hsize_t> start(s.shape.size(), 0);
    const hid_t part = H5Scopy(space);
    H5Sselect_hyperslab(part, H5S_SELECT_SET, start.data(), nullptr, s.written.data(), nullptr);
    EXPECT_GE(H5Dwrite(set, H5T_NATIVE_DOUBLE, part, part, H5P_DEFAULT, values.data()), 0);
    H5Sclose(part);
  }
  EXPECT_GE(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  H5Dclose(set);
  H5Pclose(properties);
  H5Sclose(space);
  H5Fclose(file);
  H5Pclose(access);
  H5Pclose(creation);
  if (s.userblock > 0) {
    std::fstream(path, std::ios::in | std::ios::out) << std::string(s.userblock, 'u');
  }
  return values;
}

std::unique_ptr<Hdf5Array> open(const std::string& path) {
  const Hdf5Session session;
  const Hdf5Handle file = open_hdf5_file(path);
  EXPECT_TRUE(file.valid());
  return Hdf5Array::take(std::make_shared<StoredFile>(path), "/d",
                         {H5Dopen2(file.id(), "d", H5P_DEFAULT), H5Dclose});
}

// A box drawn at random, and the values it must give.
class RandomBox {
 public:
  RandomBox(const std::vector<hsize_t>& shape, std::minstd_rand& random) : random_(random) {
    std::vector<int> axes(shape.size());
    std::iota(axes.begin(), axes.end(), 0);
    std::shuffle(axes.begin(), axes.end(), random);
    for (const hsize_t extent : shape) box.index.push_back(below(extent));
    box.y = part(axes[0], shape);
    if (axes.size() > 1) box.x = part(axes[1], shape);
    if (axes.size() > 2) {
      box.axis_c = axes[2];
      draw_runs(static_cast<std::int64_t>(shape[static_cast<std::size_t>(axes[2])]));
    } else {
      box.runs = {{}};
      num_channels = 1;
    }
    for (std::int64_t c = 0; c < num_channels; ++c) {
      affine.push_back({1 + static_cast<double>(below(4)), static_cast<double>(below(9))});
    }
  }

  // What read() must give, of the dataset's values in row-major order.
  std::vector<float> expected(const std::vector<hsize_t>& shape, const std::vector<double>& values,
                              const Packing& packing) const {
    std::vector<float> out(size());
    for (const ChannelRun& run : box.runs) {
      for (std::int64_t c = 0; c < run.count; ++c) {
        for (std::int64_t y = 0; y < box.y.count; ++y) {
          for (std::int64_t x = 0; x < box.x.count; ++x) {
            std::vector<std::int64_t> at = box.index;
            set(at, box.y, y);
            set(at, box.x, x);
            if (box.axis_c >= 0) at[static_cast<std::size_t>(box.axis_c)] = run.begin + c;
            std::size_t element = 0;
            for (std::size_t a = 0; a < at.size(); ++a) {
              element = element * shape[a] + static_cast<std::size_t>(at[a]);
            }
            const double raw = values[element];
            const bool missing = std::ranges::count(packing.missing, raw) > 0;
            const Affine& line = affine[static_cast<std::size_t>(run.to + c)];
            const double value =
                raw * (packing.scale * line.scale) + (packing.offset * line.scale + line.offset);
            out[static_cast<std::size_t>(((run.to + c) * box.y.count + y) * box.x.count + x)] =
                missing ? NAN : static_cast<float>(value);
          }
        }
      }
    }
    return out;
  }

  std::size_t size() const {
    return static_cast<std::size_t>(num_channels * box.y.count * box.x.count);
  }
  ValueBlock block(float* out) const { return {out, box.y.count * box.x.count, box.x.count}; }

  ArrayBox box;
  std::vector<Affine> affine;
  std::int64_t num_channels = 0;

 private:
  std::int64_t below(std::uint64_t bound) { return static_cast<std::int64_t>(random_() % bound); }
  AxisPart part(int axis, const std::vector<hsize_t>& shape) {
    const auto extent = static_cast<std::int64_t>(shape[static_cast<std::size_t>(axis)]);
    AxisPart p{axis};
    p.begin = below(static_cast<std::uint64_t>(extent));
    p.count = 1 + below(static_cast<std::uint64_t>(extent - p.begin));
    p.reversed = random_() % 2 == 0;
    return p;
  }
  // Runs with gaps between them, in an order of their own.
  void draw_runs(std::int64_t extent) {
    for (std::int64_t at = below(static_cast<std::uint64_t>(extent)); at < extent;) {
      ChannelRun run{at, std::min<std::int64_t>(extent - at, 1 + below(4))};
      box.runs.push_back(run);
      num_channels += run.count;
      at += run.count + 1 + below(5);
    }
    std::vector<std::size_t> order(box.runs.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::shuffle(order.begin(), order.end(), random_);
    std::int64_t to = 0;
    for (const std::size_t r : order) {
      box.runs[r].to = to;
      to += box.runs[r].count;
    }
  }
  static void set(std::vector<std::int64_t>& at, const AxisPart& part, std::int64_t i) {
    if (part.axis < 0) return;
    at[static_cast<std::size_t>(part.axis)] = part.begin + (part.reversed ? part.count - 1 - i : i);
  }

  std::minstd_rand& random_;
};

void expect_same(const std::vector<float>& found, const std::vector<float>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const bool same = std::isnan(expected[i]) ? std::isnan(found[i]) : found[i] == expected[i];
    ASSERT_TRUE(same) << "element " << i << ": " << found[i] << ", expected " << expected[i];
  }
}

void check_boxes(const std::string& path, const Storage& storage, const std::vector<double>& values,
                 std::minstd_rand& random, int boxes) {
  const auto array = open(path);
  ASSERT_NE(array, nullptr);
  ChunkCache cache(static_cast<std::int64_t>(random() % 4000));
  const Packing packing{0.5, 3, {17, 100}};
  for (int i = 0; i < boxes; ++i) {
    const RandomBox wish(storage.shape, random);
    std::vector<float> out(wish.size(), -777);
    array->read(wish.box, packing, wish.affine, cache, {}, wish.block(out.data()));
    ASSERT_NO_FATAL_FAILURE(expect_same(out, wish.expected(storage.shape, values, packing)));
  }
}

TEST(Hdf5Array, ReadsEveryBoxOfEveryStorage) {
  const TempDir folder;
  const std::string path = folder.file("f.h5");
  std::minstd_rand random(11);
  const std::vector<hid_t> types{
      H5T_NATIVE_FLOAT, H5T_NATIVE_DOUBLE, H5T_NATIVE_INT8,   H5T_NATIVE_INT16,  H5T_NATIVE_INT32,
      H5T_NATIVE_INT64, H5T_NATIVE_UINT8,  H5T_NATIVE_UINT16, H5T_NATIVE_UINT32, H5T_NATIVE_UINT64};
  for (int trial = 0; trial < 120; ++trial) {
    Storage s;
    s.type = types[random() % types.size()];
    const std::size_t rank = 1 + random() % 5;
    for (std::size_t a = 0; a < rank; ++a) {
      s.shape.push_back(1 + random() % (rank > 3 ? 7 : 40));
      s.chunks.push_back(1 + random() % s.shape.back());
    }
    if (random() % 4 == 0) s.chunks.clear();
    if (!s.chunks.empty()) {
      s.shuffle = random() % 2 == 0;
      s.deflate = random() % 3 > 0;
      s.checksum = random() % 3 == 0;
    }
    s.latest_format = random() % 3 == 0;
    s.userblock = random() % 4 == 0 ? 512 : 0;
    s.fill = 5;
    if (!s.chunks.empty() && random() % 2 == 0) {
      for (const hsize_t extent : s.shape) s.written.push_back(1 + random() % extent);
    }
    SCOPED_TRACE(testing::Message()
                 << "trial " << trial << ", shape " << testing::PrintToString(s.shape)
                 << ", chunks " << testing::PrintToString(s.chunks));
    const std::vector<double> values = write(path, s, static_cast<unsigned>(trial));
    ASSERT_NO_FATAL_FAILURE(check_boxes(path, s, values, random, 12));
  }
}

TEST(Hdf5Array, ReadsContiguousDataInParts) {
  const TempDir folder;
  const std::string path = folder.file("f.h5");
  std::minstd_rand random(12);
  // Rows of 2 KB, an image of 3 MB: several parts, gaps read over and gaps not.
  for (const std::vector<hsize_t>& shape :
       {std::vector<hsize_t>{40, 40, 500}, {500, 40, 40}, {3, 500, 530}}) {
    Storage s;
    s.shape = shape;
    const std::vector<double> values = write(path, s);
    ASSERT_NO_FATAL_FAILURE(check_boxes(path, s, values, random, 10));
  }
}

TEST(Hdf5Array, ExpandsZstd) {
  const TempDir folder;
  const std::string path = folder.file("f.h5");
  Storage s;
  s.shape = {20, 30};
  const std::vector<double> values = numbers(600, 3);
  {
    const std::scoped_lock lock(hdf5_family_lock());
    const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t space = H5Screate_simple(2, s.shape.data(), nullptr);
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(properties, 2, s.shape.data());
    H5Pset_filter(properties, 32015, H5Z_FLAG_OPTIONAL, 0, nullptr);
    const hid_t set =
        H5Dcreate2(file, "d", H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    ASSERT_GE(set, 0);
    std::vector<std::byte> stored(ZSTD_compressBound(600 * 8));
    const std::size_t size = ZSTD_compress(stored.data(), stored.size(), values.data(), 600 * 8, 3);
    const hsize_t start[2] = {0, 0};
    EXPECT_GE(H5Dwrite_chunk(set, H5P_DEFAULT, 0, start, size, stored.data()), 0);
    H5Dclose(set);
    H5Pclose(properties);
    H5Sclose(space);
    H5Fclose(file);
  }
  std::minstd_rand random(4);
  check_boxes(path, s, values, random, 10);
}

TEST(Hdf5Array, ReadsRealFilesAsTheLibraryDoes) {
  TRIB_NEEDS_DATA("era5");
  std::minstd_rand random(13);
  int num_arrays = 0;
  for (const char* folder : {"era5", "hyperspectral"}) {
    for (const auto& entry : std::filesystem::directory_iterator(test::data_file(folder))) {
      const std::string path = entry.path();
      if (!entry.is_regular_file() || file_kind(path) != FileKind::hdf5) continue;
      const Hdf5File file(path);
      ChunkCache cache(1 << 20);
      for (const Hdf5Dataset& d : file.datasets()) {
        if (!d.dtype || d.shape.size() < 2) continue;
        SCOPED_TRACE(path + d.path);
        std::unique_ptr<Hdf5Array> array;
        {
          const Hdf5Session session;
          array = Hdf5Array::take(std::make_shared<StoredFile>(path), d.path, file.open(d, 0));
        }
        ASSERT_NE(array, nullptr) << d.stored_type << " " << d.filters;
        const ChunkKey key{0, static_cast<std::uint32_t>(++num_arrays), 0};
        const std::vector<double> values = file.values(d);
        const std::vector<hsize_t> shape(d.shape.begin(), d.shape.end());
        for (int i = 0; i < 4; ++i) {
          RandomBox wish(shape, random);
          std::ranges::fill(wish.affine, Affine{});
          std::vector<float> out(wish.size());
          array->read(wish.box, {}, {}, cache, key, wish.block(out.data()));
          ASSERT_NO_FATAL_FAILURE(expect_same(out, wish.expected(shape, values, {})));
        }
      }
    }
  }
  EXPECT_GE(num_arrays, 15);
}

TEST(Hdf5Array, LeavesToTheLibraryWhatItCannotRead) {
  const TempDir folder;
  const std::string path = folder.file("f.h5");
  Storage big_endian;
  big_endian.shape = {4, 4};
  big_endian.type = H5T_IEEE_F32BE;
  write(path, big_endian);
  EXPECT_EQ(open(path), nullptr);
  {
    const std::scoped_lock lock(hdf5_family_lock());
    const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hsize_t shape[2] = {4, 4};
    const hid_t space = H5Screate_simple(2, shape, nullptr);
    H5Dclose(H5Dcreate2(file, "d", H5T_NATIVE_INT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
    H5Fclose(file);
  }
  EXPECT_EQ(open(path), nullptr);
}

TEST(Hdf5Array, DecodesAChunkOnceForAllItsPixels) {
  const TempDir folder;
  const std::string path = folder.file("f.h5");
  Storage s;
  s.shape = {32, 32, 10};
  s.chunks = {8, 8, 10};
  s.deflate = true;
  write(path, s);
  const auto array = open(path);
  EXPECT_EQ(array->chunk_bytes(), 8 * 8 * 10 * 4);
  EXPECT_EQ(array->bytes_in_chunks(), 32 * 32 * 10 * 4);
  ChunkCache none(0), all(array->bytes_in_chunks());
  // Channels 1, 4 and 9 of 12 x 12 pixels touch 2 x 2 chunks.
  const ArrayBox box{{0, 0, 0}, 2, {{1, 1, 0}, {4, 1, 1}, {9, 1, 2}}, {0, 4, 12}, {1, 0, 12}};
  std::vector<float> out(3 * 12 * 12);
  for (int i = 0; i < 2; ++i) {
    array->read(box, {}, {}, none, {}, {out.data(), 144, 12});
    array->read(box, {}, {}, all, {}, {out.data(), 144, 12});
  }
  EXPECT_EQ(none.misses(), 2 * 4);
  EXPECT_EQ(all.misses(), 4);
  EXPECT_EQ(all.bytes(), 4 * array->chunk_bytes());
}

TEST(Hdf5Array, NamesTheChunkThatIsDamaged) {
  const TempDir folder;
  const std::string path = folder.file("f.h5");
  Storage s;
  s.shape = {64, 64};
  s.chunks = {32, 64};
  s.deflate = true;
  write(path, s);
  std::uint64_t offset = 0;
  {
    const Hdf5Session session;
    const Hdf5Handle file = open_hdf5_file(path);
    const Hdf5Handle set(H5Dopen2(file.id(), "d", H5P_DEFAULT), H5Dclose);
    const std::vector<std::uint64_t> start{32, 0};
    const auto place = find_chunk(set, start);
    ASSERT_TRUE(place);
    haddr_t told = 0;
    hsize_t bytes = 0;
    unsigned mask = 0;
    const hsize_t at[2] = {32, 0};
    ASSERT_GE(H5Dget_chunk_info_by_coord(set.id(), at, &mask, &told, &bytes), 0);
    EXPECT_EQ(place->offset, told);
    EXPECT_EQ(place->bytes, bytes);
    offset = place->offset;
  }
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset + 20));
    file << "damage";
  }
  const auto array = open(path);
  ChunkCache cache(1 << 20);
  std::vector<float> out(64 * 64);
  const ArrayBox box{{0, 0}, -1, {{}}, {0, 0, 64}, {1, 0, 64}};
  for (int i = 0; i < 2; ++i) {
    try {
      array->read(box, {}, {}, cache, {}, {out.data(), 0, 64});
      ADD_FAILURE() << "no error";
    } catch (const DataError& e) {
      EXPECT_THAT(e.what(), testing::StartsWith(path + ": /d: chunk at [32, 0]: "));
    }
  }
}

TEST(Hdf5Array, ReadsFromManyThreadsBesideTheLibrary) {
  const TempDir folder;
  const std::string path = folder.file("f.h5");
  Storage s;
  s.shape = {64, 64, 20};
  s.chunks = {16, 16, 7};
  s.shuffle = s.deflate = true;
  const std::vector<double> values = write(path, s);
  const auto array = open(path);
  ChunkCache cache(array->bytes_in_chunks() / 4);
  std::vector<std::jthread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::minstd_rand random(t + 1);
      for (int i = 0; i < 40; ++i) {
        const RandomBox wish(s.shape, random);
        std::vector<float> out(wish.size());
        array->read(wish.box, {}, wish.affine, cache, {}, wish.block(out.data()));
        expect_same(out, wish.expected(s.shape, values, {}));
        if (i % 10 == 0) {
          EXPECT_NE(open(path), nullptr);
        }
      }
    });
  }
}

}  // namespace
}  // namespace trib::io
