#include "io/grid/regrid_weights_file.h"

#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "ops/base/error.h"
#include "tests/support/temp_dir.h"

namespace trib::io {
namespace {

using ops::RegridMethod;

const ops::RegularGrid kSource = ops::global_grid(13, 24, true);
const ops::RegularGrid kTarget = ops::weatherbench_grid(22.5);

std::string file_in(const std::string& folder, RegridMethod method = RegridMethod::conservative) {
  return folder + "/" + regrid_weights_name(kSource, kTarget, method, false) + ".safetensors";
}

TEST(RegridWeightsFile, ReadsBackWhatItComputed) {
  const test::TempDir dir;
  const std::string folder = dir.file("deep/cache");
  for (const RegridMethod method :
       {RegridMethod::bilinear, RegridMethod::nearest, RegridMethod::conservative}) {
    const auto computed = ops::regrid_weights(kSource, kTarget, method);
    EXPECT_EQ(kept_regrid_weights(kSource, kTarget, method, false, folder), computed);
    const auto written = std::filesystem::last_write_time(file_in(folder, method));
    EXPECT_EQ(kept_regrid_weights(kSource, kTarget, method, false, folder), computed);
    EXPECT_EQ(std::filesystem::last_write_time(file_in(folder, method)), written);
  }
}

TEST(RegridWeightsFile, NamesDifferWithWhatTheWeightsDependOn) {
  const auto name = [](const ops::RegularGrid& source, const ops::RegularGrid& target,
                       RegridMethod method, bool outside) {
    return regrid_weights_name(source, target, method, outside);
  };
  const std::string base = name(kSource, kTarget, RegridMethod::bilinear, false);
  ops::RegularGrid other = kSource;
  other.longitudes[3] += 1e-9;
  ops::RegularGrid edged = kTarget;
  edged.latitude_edges = ops::evenly_spaced(-90, 90, 9);
  EXPECT_NE(name(other, kTarget, RegridMethod::bilinear, false), base);
  EXPECT_NE(name(kSource, edged, RegridMethod::bilinear, false), base);
  EXPECT_NE(name(kSource, kTarget, RegridMethod::nearest, false), base);
  EXPECT_NE(name(kSource, kTarget, RegridMethod::bilinear, true), base);
  EXPECT_EQ(base.rfind("bilinear-13x24-8x16-", 0), 0u);
}

TEST(RegridWeightsFile, DamagedFilesAreReplaced) {
  const test::TempDir dir;
  const auto computed = ops::regrid_weights(kSource, kTarget, RegridMethod::conservative);
  const auto ask = [&] {
    return kept_regrid_weights(kSource, kTarget, RegridMethod::conservative, false, dir.path());
  };
  ask();
  const std::string path = file_in(dir.path());
  const auto size = std::filesystem::file_size(path);
  const auto expect_replaced = [&](const std::string& what) {
    EXPECT_EQ(ask(), computed) << what;
    EXPECT_EQ(std::filesystem::file_size(path), size) << what;
    EXPECT_NO_THROW(SafetensorsFile{path}) << what;
  };
  // One bit of the numbers; then bytes all over the file, the header's too.
  for (std::uintmax_t at = size - 1; at < size; at -= size / 37) {
    {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(static_cast<std::streamoff>(at));
      const int byte = file.get();
      file.seekp(static_cast<std::streamoff>(at));
      file.put(static_cast<char>(byte ^ 1));
    }
    expect_replaced("bit at " + std::to_string(at));
  }
  std::filesystem::resize_file(path, size / 2);
  expect_replaced("half of the file");
  std::ofstream(path) << "nothing of the kind";
  expect_replaced("a text");
  // Whole and sound, but under the name of others.
  kept_regrid_weights(kSource, kTarget, RegridMethod::nearest, false, dir.path());
  std::filesystem::copy_file(file_in(dir.path(), RegridMethod::nearest), path,
                             std::filesystem::copy_options::overwrite_existing);
  expect_replaced("other weights");
}

TEST(RegridWeightsFile, ManyMayAskAtOnce) {
  const test::TempDir dir;
  const auto computed = ops::regrid_weights(kSource, kTarget, RegridMethod::bilinear);
  std::vector<ops::RegridWeights> found(4);
  {
    std::vector<std::jthread> threads;
    for (auto& weights : found) {
      threads.emplace_back([&weights, &dir] {
        weights = kept_regrid_weights(kSource, kTarget, RegridMethod::bilinear, false, dir.path());
      });
    }
  }
  for (const auto& weights : found) EXPECT_EQ(weights, computed);
}

TEST(RegridWeightsFile, FolderThatCannotBe) {
  const test::TempDir dir;
  std::ofstream(dir.file("file")) << "x";
  EXPECT_THROW(kept_regrid_weights(kSource, kTarget, RegridMethod::bilinear, false,
                                   dir.file("file") + "/cache"),
               RuntimeError);
  EXPECT_NO_THROW(kept_regrid_weights(kSource, kTarget, RegridMethod::bilinear, false, ""));
}

}  // namespace
}  // namespace trib::io
