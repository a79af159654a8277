// Folders of runs that are gone on with.

#include "pipeline/observe/run_folder.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/support/temp_dir.h"

namespace trib::pipeline {
namespace {

namespace fs = std::filesystem;

class ContinuedFolder : public testing::Test {
 protected:
  void write(const std::string& name) const {
    fs::create_directories(fs::path(folder_.file(name)).parent_path());
    std::ofstream(folder_.file(name)) << name;
  }
  bool exists(const std::string& name) const { return fs::exists(folder_.file(name)); }
  test::TempDir folder_;
};

TEST_F(ContinuedFolder, LatestRunWithCheckpointsIsFound) {
  const std::string runs = folder_.file("runs");
  EXPECT_EQ(find_run_folder(runs, "a"), "");
  for (const char* name : {"a", "a-2", "a-10", "a-b", "a-011x", "ab-30", "a-0"}) {
    write(std::string("runs/") + name + "/checkpoints/step-1/index.json");
  }
  write("runs/a-12/graph.yaml");
  EXPECT_EQ(find_run_folder(runs, "a"), runs + "/a-10");
  EXPECT_EQ(find_run_folder(runs, "ab"), runs + "/ab-30");
  EXPECT_EQ(find_run_folder(runs, "b"), "");
}

TEST_F(ContinuedFolder, FilesOfTheAttemptBeforeMoveAside) {
  for (const char* name : {"r/graph.yaml", "r/summary.json", "r/metrics.csv", "r/metrics.jsonl",
                           "r/checkpoints/step-1/index.json", "r/statistics/scaled.json"}) {
    write(name);
  }
  continue_run_folder(folder_.file("r"), true);
  for (const char* name :
       {"r/attempts/1/graph.yaml", "r/attempts/1/summary.json", "r/metrics.csv", "r/metrics.jsonl",
        "r/checkpoints/step-1/index.json", "r/statistics/scaled.json"}) {
    EXPECT_TRUE(exists(name)) << name;
  }
  EXPECT_FALSE(exists("r/graph.yaml"));
  continue_run_folder(folder_.file("r"), true);
  EXPECT_FALSE(exists("r/attempts/2")) << "there was nothing to move";
  write("r/graph.yaml");
  continue_run_folder(folder_.file("r"), true);
  EXPECT_TRUE(exists("r/attempts/2/graph.yaml"));
}

TEST_F(ContinuedFolder, OnlyRunsAreGoneOnWith) {
  continue_run_folder(folder_.file("new"), false);
  EXPECT_TRUE(exists("new"));
  write("mine/letter.txt");
  EXPECT_THROW(continue_run_folder(folder_.file("mine"), false), ConfigError);
  EXPECT_TRUE(exists("mine/letter.txt"));
  write("done/graph.yaml");
  write("done/summary.json");
  EXPECT_THROW(continue_run_folder(folder_.file("done"), false), ConfigError);
  EXPECT_TRUE(exists("done/summary.json"));
  write("killed/graph.yaml.tmp");
  continue_run_folder(folder_.file("killed"), false);
}

}  // namespace
}  // namespace trib::pipeline
