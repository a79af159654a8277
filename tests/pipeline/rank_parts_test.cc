#include "pipeline/run/rank_parts.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_dir.h"

namespace trib::pipeline {
namespace {

class RankParts : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_.file(name)) << text;
  }
  std::string text(const std::string& name) const { return test::read_text(folder_.file(name)); }
  bool exists(const std::string& name) const { return std::filesystem::exists(folder_.file(name)); }
  const test::TempDir folder_;
};

TEST_F(RankParts, BecomeFilesInTheOrderOfRanks) {
  write("trace.rank2.part", "{\"c\":3}");
  write("trace.rank0.part", "{\"a\":1}");
  write("skipped.rank1.part", "{\"item\":7}\n");
  join_rank_parts(folder_.path(), 3);
  EXPECT_EQ(text("trace.json"), "[\n{\"a\":1},\n{\"c\":3}\n]\n");
  EXPECT_EQ(text("skipped.jsonl"), "{\"item\":7}\n");
  EXPECT_FALSE(exists("trace.rank0.part"));
  EXPECT_FALSE(exists("skipped.rank1.part"));
}

TEST_F(RankParts, ThatAreNotThereMakeNoFile) {
  join_rank_parts(folder_.path(), 2);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(RankParts, StayIfTheDiskIsFull) {
  write("trace.rank0.part", "{\"a\":1}");
  std::filesystem::create_symlink("/dev/full", folder_.file("trace.json"));
  try {
    join_rank_parts(folder_.path(), 1);
    FAIL();
  } catch (const RuntimeError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("trace.json: cannot be written: No space left"));
  }
  EXPECT_EQ(text("trace.rank0.part"), "{\"a\":1}");
}

}  // namespace
}  // namespace trib::pipeline
