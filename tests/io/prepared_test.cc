// Shards of prepared samples: written, opened, read back; and damaged.
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/prepared/half.h"
#include "io/prepared/npy.h"
#include "io/prepared/prepared_source.h"
#include "io/prepared/shard_writer.h"
#include "ops/base/error.h"
#include "ops/base/random.h"
#include "tests/support/temp_dir.h"

namespace trib::io {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::int64_t kPositions = 7, kShardSamples = 3;
constexpr Extent kExtent{3, 5};
constexpr std::int64_t kPixels = 15, kChannels = 4, kTargets = 2;

float value_at(std::int64_t sample, std::int64_t plane, std::int64_t pixel) {
  if (sample == 2 && plane == 1 && pixel < 5) return kNan;
  const RandomStream random(9, "prepared");
  return 10.0F * random.normal(static_cast<std::uint64_t>((sample * 10 + plane) * 100 + pixel));
}

std::vector<float> planes_of(std::int64_t sample, std::int64_t first, std::int64_t count) {
  std::vector<float> values;
  for (std::int64_t plane = first; plane < first + count; ++plane) {
    for (std::int64_t i = 0; i < kPixels; ++i) values.push_back(value_at(sample, plane, i));
  }
  return values;
}

PreparedHead head_of(PreparedType type, int zstd_level) {
  PreparedHead head;
  head.layout.channels = {{"a", "K"}, {"b", "m"}, {"c", "1", 550.5}, {"d", "", kUnknown, 850}};
  head.layout.targets = {{"a", "K"}, {"e", ""}};
  head.layout.extent = kExtent;
  head.layout.type = type;
  head.layout.zstd_level = zstd_level;
  head.grid = std::make_shared<LatLonGrid>(LatLonGrid{{-1, 0, 1}, {0, 1.5, 3, 4.5, 6}});
  head.scaling = PreparedScaling{{"a", "b"}, {1.25, 1e-30}, {2, 0.1}};
  head.split = "train";
  head.positions = kPositions;
  head.shard_samples = kShardSamples;
  head.made_from = R"({"graph": "g.yaml", "node": "batches"})";
  return head;
}

SampleRecord record_of(std::int64_t sample) {
  static const auto geo =
      std::make_shared<const GeoReference>(GeoReference{"LOCAL_CS[\"x\"]", {1, 2, 0, 3, 0, -4}});
  SampleRecord record;
  record.position = sample;
  record.lead_hours = 6.5F;
  record.provenance = {sample < 4 ? "first, \"file\".nc" : "second.nc",
                       {10 * sample, 20, 3, 5},
                       sample % 2 == 0 ? geo : nullptr,
                       sample == 1 ? kUnknown : 3600.25 * static_cast<double>(sample),
                       static_cast<std::int32_t>(sample) - 1};
  return record;
}

/// Write a set of 7 positions in shards of 3, without those that are skipped.
void write_set(const std::string& folder, const PreparedHead& head,
               const std::set<std::int64_t>& skipped = {}) {
  PreparedIndex index{head, {}};
  for (std::int64_t shard = 0; shard < head.num_shards(); ++shard) {
    const Range positions = head.shard_positions(shard);
    ShardWriter writer(folder, shard, head.layout, positions.size());
    for (std::int64_t p = positions.begin; p < positions.end; ++p) {
      if (skipped.contains(p)) {
        writer.skip({p, "an item", "it is broken"});
        continue;
      }
      writer.append(encode_sample(head.layout, record_of(p), planes_of(p, 0, kChannels).data(),
                                  planes_of(p, kChannels, kTargets).data()));
    }
    index.shards.push_back(writer.commit());
    const auto found = find_shard(folder, shard, head.layout);
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->xxh3, index.shards.back().xxh3);
    EXPECT_EQ(found->bytes, index.shards.back().bytes);
  }
  std::ofstream(folder + "/index.json") << index.to_json();
}

void expect_same(const std::vector<float>& found, const std::vector<float>& expected,
                 float tolerance = 0) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (std::isnan(expected[i])) {
      EXPECT_TRUE(std::isnan(found[i])) << i;
    } else {
      EXPECT_NEAR(found[i], expected[i], tolerance * std::abs(expected[i])) << i;
    }
  }
}

std::vector<float> read_x(const PreparedSource& source, std::int64_t index,
                          std::span<const Affine> affine = {},
                          const std::optional<Window>& window = {}) {
  const std::int64_t pixels = window ? window->height * window->width : kPixels;
  std::vector<float> values(source.channels().size() * static_cast<std::size_t>(pixels));
  source.read_into(index, window, {values.data(), affine});
  return values;
}

std::vector<float> read_target(const PreparedSource& source, std::int64_t index) {
  std::vector<float> values(source.targets().size() * static_cast<std::size_t>(kPixels));
  source.read_target_into(index, {values.data()});
  return values;
}

template <class Body>
std::string error_of(Body&& body) {
  try {
    body();
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

struct Coding {
  PreparedType type;
  int zstd_level;
};

class PreparedTest : public testing::TestWithParam<Coding> {
 protected:
  PreparedTest() : head_(head_of(GetParam().type, GetParam().zstd_level)) {}
  float tolerance() const { return GetParam().type == PreparedType::f16 ? 1e-3F : 0; }
  std::string x_file(int shard) const {
    return folder_.file(
        shard_file_name("x", shard, GetParam().zstd_level > 0 ? ".npy.zst" : ".npy"));
  }

  test::TempDir folder_;
  PreparedHead head_;
};

INSTANTIATE_TEST_SUITE_P(Codings, PreparedTest,
                         testing::Values(Coding{PreparedType::f32, 0}, Coding{PreparedType::f32, 3},
                                         Coding{PreparedType::f16, 0},
                                         Coding{PreparedType::f16, 1}));

TEST_P(PreparedTest, GivesBackWhatWasWritten) {
  write_set(folder_.path(), head_);
  PreparedSource source({folder_.path(), {}, {}});
  ASSERT_EQ(source.size(), kPositions);
  EXPECT_EQ(source.channels()[2].wavelength_nm, 550.5);
  EXPECT_EQ(source.channels()[3].level_hpa, 850);
  EXPECT_EQ(source.targets()[1].name, "e");
  EXPECT_EQ(*source.grid(), *head_.grid);
  EXPECT_EQ(source.head().scaling->mean, head_.scaling->mean);
  for (int again = 0; again < 2; ++again) {  // the second time without checksums
    for (std::int64_t i = 0; i < kPositions; ++i) {
      expect_same(read_x(source, i), planes_of(i, 0, kChannels), tolerance());
      expect_same(read_target(source, i), planes_of(i, kChannels, kTargets), tolerance());
    }
  }
  for (std::int64_t i = 0; i < kPositions; ++i) {
    const Provenance expected = record_of(i).provenance, found = source.provenance(i);
    EXPECT_EQ(found.file, expected.file);
    EXPECT_EQ(found.window, expected.window);
    EXPECT_EQ(found.label, expected.label);
    EXPECT_TRUE(found.time == expected.time || (std::isnan(found.time) && i == 1));
    ASSERT_EQ(found.geo == nullptr, expected.geo == nullptr);
    if (found.geo != nullptr) {
      EXPECT_EQ(found.geo->transform, expected.geo->transform);
      EXPECT_EQ(found.geo->crs_wkt, expected.geo->crs_wkt);
    }
    EXPECT_EQ(source.lead_hours(i), 6.5F);
  }
  EXPECT_THAT(verify_prepared(folder_.path()), ElementsAre());
  EXPECT_GT(source.bytes_decoded(), 0);
}

TEST_P(PreparedTest, ReadsChosenChannelsWindowsAndMapsValues) {
  write_set(folder_.path(), head_);
  PreparedSource source({folder_.path(), {"d", "a", "b"}, {"e"}});
  expect_same(read_target(source, 5), planes_of(5, 5, 1), tolerance());
  std::vector<float> expected = planes_of(5, 3, 1);
  const std::vector<float> ab = planes_of(5, 0, 2);
  expected.insert(expected.end(), ab.begin(), ab.end());
  expect_same(read_x(source, 5), expected, tolerance());

  const std::vector<std::int64_t> kept{1, 2};
  source.keep_channels(kept);
  source.keep_targets({});
  expect_same(read_x(source, 5), ab, tolerance());
  EXPECT_EQ(read_target(source, 5).size(), 0U);

  const std::vector<Affine> affine{{2, 1}, {-1, 0.5}};
  std::vector<float> mapped = ab;
  for (std::size_t i = 0; i < mapped.size(); ++i) {
    const Affine& map = affine[i / kPixels];
    mapped[i] = static_cast<float>(mapped[i] * map.scale + map.offset);
  }
  for (int again = 0; again < 2; ++again) {
    const std::vector<float> found = read_x(source, 5, affine);
    for (std::size_t i = 0; i < mapped.size(); ++i) {
      EXPECT_NEAR(found[i], mapped[i], tolerance() * 100 + 1e-6F) << i;
    }
  }
  const Window window{1, 2, 2, 3};
  std::vector<float> cut;
  for (std::size_t c = 0; c < 2; ++c) {
    for (std::size_t y = 1; y < 3; ++y) {
      for (std::size_t x = 2; x < 5; ++x) cut.push_back(ab[c * kPixels + y * 5 + x]);
    }
  }
  expect_same(read_x(source, 5, {}, window), cut, tolerance());
  EXPECT_THROW(read_x(source, 5, {}, Window{2, 2, 2, 3}), DataError);
  // Of the sample with missing values, as of any other.
  expect_same(read_x(source, 2), planes_of(2, 0, 2), tolerance());
}

TEST_P(PreparedTest, SkippedSamplesLeaveNoGap) {
  write_set(folder_.path(), head_, {1, 3, 4, 5});  // all of the second shard
  PreparedSource source({folder_.path(), {}, {}});
  ASSERT_EQ(source.size(), kPositions - 4);
  expect_same(read_x(source, 1), planes_of(2, 0, kChannels), tolerance());
  expect_same(read_x(source, 2), planes_of(6, 0, kChannels), tolerance());
  EXPECT_THAT(verify_prepared(folder_.path()), ElementsAre());
}

TEST_P(PreparedTest, MomentsAreThoseOfTheSamples) {
  write_set(folder_.path(), head_);
  const std::string path = folder_.file("shard-00000.json");
  const ShardRecord record = ShardRecord::from_json(read_text_file(path), path, head_.layout);
  Moments expected;
  for (std::int64_t s = 0; s < kShardSamples; ++s) {
    expected.merge(moments_of(planes_of(s, 1, 1).data(), kPixels));
  }
  EXPECT_EQ(record.moments[1], expected);
  EXPECT_EQ(expected.count, kShardSamples * kPixels - 5);
}

TEST_P(PreparedTest, AFlippedBitIsFoundWhereItIs) {
  write_set(folder_.path(), head_);
  const auto middle = static_cast<std::int64_t>(fs::file_size(x_file(1)) / 2);
  {
    std::fstream file(x_file(1), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(middle);
    const char byte = static_cast<char>(file.get() ^ 0x10);
    file.seekp(middle);
    file.put(byte);
  }
  PreparedSource source({folder_.path(), {}, {}});
  int damaged = 0;
  for (std::int64_t i = 0; i < kPositions; ++i) {
    const std::string error = error_of([&] { read_x(source, i); });
    if (error.empty()) {
      expect_same(read_x(source, i), planes_of(i, 0, kChannels), tolerance());
      continue;
    }
    ++damaged;
    EXPECT_THAT(error, AllOf(HasSubstr(x_file(1)), HasSubstr("sample " + std::to_string(i - 3))));
  }
  EXPECT_EQ(damaged, 1);
  const auto found = verify_prepared(folder_.path());
  ASSERT_EQ(found.size(), 1U);
  EXPECT_THAT(found[0], HasSubstr("its checksum is"));
}

TEST_P(PreparedTest, CutFilesAreRefusedBeforeTheyAreRead) {
  write_set(folder_.path(), head_);
  fs::resize_file(x_file(1), fs::file_size(x_file(1)) - 1);
  PreparedSource source({folder_.path(), {}, {}});
  expect_same(read_x(source, 0), planes_of(0, 0, kChannels), tolerance());
  const std::string error = error_of([&] { read_x(source, 3); });
  EXPECT_THAT(error, AllOf(HasSubstr(x_file(1)), HasSubstr("expected")));
  EXPECT_EQ(error_of([&] { read_x(source, 4); }), error);  // again and again
  EXPECT_THROW(find_shard(folder_.path(), 1, head_.layout), DataError);
  fs::remove(x_file(1));
  EXPECT_THAT(error_of([&] { read_x(source, 3); }), HasSubstr("cannot be opened"));
}

TEST_P(PreparedTest, DamageOfEveryOtherFileIsReported) {
  write_set(folder_.path(), head_);
  const auto replace = [&](const std::string& name, const std::string& text) {
    const std::string path = folder_.file(name), before = read_text_file(path);
    std::ofstream(path, std::ios::binary) << text;
    const std::string error = error_of([&] {
      PreparedSource source({folder_.path(), {}, {}});
      read_x(source, 3);
      read_target(source, 3);
    });
    EXPECT_THAT(error, HasSubstr(folder_.path())) << name << ": " << text.substr(0, 80);
    std::ofstream(path, std::ios::binary) << before;
  };
  for (const char* name : {"index.json", "shard-00001.json"}) {
    const std::string good = read_text_file(folder_.file(name));
    for (const std::string& text :
         {std::string(), std::string("{}"), std::string("[]"), good.substr(0, good.size() / 2)}) {
      replace(name, text);
    }
  }
  const std::string index = read_text_file(folder_.file("index.json"));
  for (const auto& [from, to] : {std::pair{"\"height\": 3", "\"height\": -3"},
                                 {"\"height\": 3", "\"height\": 4000000000000000000"},
                                 {"\"samples\": 3", "\"samples\": 2"},
                                 {"\"version\": 1", "\"version\": 2"},
                                 {"float", "int"},
                                 {"\"positions\": 7", "\"positions\": 70"},
                                 {"\"shard_samples\": 3", "\"shard_samples\": 0"}}) {
    std::string text = index;
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    replace("index.json", text.replace(at, std::string(from).size(), to));
  }
  std::string sums = read_text_file(folder_.file("sums-00001.npy"));
  sums[150] = static_cast<char>(sums[150] ^ 1);
  replace("sums-00001.npy", sums);
  replace("sums-00001.npy", "");
}

TEST_P(PreparedTest, ThreadsReadAtOnce) {
  write_set(folder_.path(), head_);
  const PreparedSource source({folder_.path(), {}, {}});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::int64_t i = 0; i < 60; ++i) {
        const std::int64_t index = (i * 3 + t) % kPositions;
        expect_same(read_x(source, index), planes_of(index, 0, kChannels), tolerance());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Prepared, FilesAreThoseOfNumpyAndZstd) {
  const std::array<std::int64_t, 4> shape{2, 3, 4, 5};
  const std::string header = npy_header("<f4", shape);
  ASSERT_EQ(std::ssize(header), kNpyHeaderBytes);
  EXPECT_EQ(header.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_EQ(header.substr(10, 62),
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4, 5)");
  EXPECT_EQ(header.back(), '\n');

  const test::TempDir plain, packed;
  write_set(plain.path(), head_of(PreparedType::f32, 0), {4});
  write_set(packed.path(), head_of(PreparedType::f32, 3), {4});
  if (std::system("zstd --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no program zstd";
  for (const char* name : {"x-00000.npy", "x-00001.npy", "target-00001.npy"}) {
    const std::string command = "zstd -dq " + packed.file(name) + ".zst";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    EXPECT_EQ(read_text_file(packed.file(name)), read_text_file(plain.file(name))) << name;
  }
}

TEST(Prepared, NumbersTooLargeForHalfAreRefused) {
  PreparedHead head = head_of(PreparedType::f16, 0);
  std::vector<float> x = planes_of(0, 0, kChannels), target = planes_of(0, kChannels, kTargets);
  x[17] = -70000;
  EXPECT_THAT(error_of([&] { encode_sample(head.layout, record_of(0), x.data(), target.data()); }),
              AllOf(HasSubstr("channel 'b'"), HasSubstr("70000")));
  x[17] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(error_of([&] { encode_sample(head.layout, record_of(0), x.data(), target.data()); }),
            "");
  EXPECT_EQ(float_of(half_of(65504)), 65504);
  EXPECT_TRUE(std::isnan(float_of(half_of(kNan))));
}

TEST(Prepared, AShardThatIsNotCommittedLeavesNothing) {
  const test::TempDir folder;
  const PreparedHead head = head_of(PreparedType::f32, 0);
  {
    ShardWriter writer(folder.path(), 0, head.layout, 3);
    writer.append(encode_sample(head.layout, record_of(0), planes_of(0, 0, kChannels).data(),
                                planes_of(0, kChannels, kTargets).data()));
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
  EXPECT_FALSE(find_shard(folder.path(), 0, head.layout).has_value());
}

}  // namespace
}  // namespace trib::io
