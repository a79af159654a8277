// `trib stats` as people use it.
#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

class StatsTest : public TribTest {
 protected:
  StatsTest() { write("g.yaml", kForecastGraph); }
  Arguments stats(const Arguments& more) const {
    return Arguments{"stats", "g.yaml", "-q", "--set", "vars.data=" + sample_data()} + more;
  }
};

TEST_F(StatsTest, RanksAndPartsMeasureWhatOneRankDoesAndATrainingTakesIt) {
  const ProgramResult one =
      trib({"stats", "g.yaml", "--out", "s/one.json", "--set", "vars.data=" + sample_data()});
  ASSERT_EQ(one.exit_code, 0) << one.err;
  EXPECT_THAT(one.out, HasSubstr("t_850"));  // a target that is no channel
  ASSERT_EQ(mpirun(2, stats({"--out", "two.json"})).exit_code, 0);
  EXPECT_EQ(text("two.json"), text("s/one.json"));
  for (const char* part : {"1/2", "2/2"}) {
    // Named after the file that the normalize node asks for.
    const ProgramResult result = trib(stats({"--part", part, "--set", "scaled.stats=p.json"}));
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  const ProgramResult merged =
      trib({"stats", "--merge", "m.json", "p.json.part-2-of-2", "p.json.part-1-of-2"});
  ASSERT_EQ(merged.exit_code, 0) << merged.err;
  EXPECT_EQ(text("m.json"), text("s/one.json"));

  run("g.yaml", "r", {"--set", "vars.data=" + sample_data(), "--set", "scaled.stats=m.json"});
  EXPECT_EQ(json("r/statistics/scaled.json"), json("m.json"));
}

TEST_F(StatsTest, MistakesSayWhatToDo) {
  const auto refusal = [&](const Arguments& arguments) {
    const ProgramResult result = trib(arguments);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    return result.err;
  };
  EXPECT_THAT(refusal(stats({})), HasSubstr("name one with --out FILE"));
  EXPECT_THAT(refusal(stats({"colour", "--out", "x"})), HasSubstr("no node 'colour'"));
  EXPECT_THAT(refusal(stats({"fields", "--out", "x"})), HasSubstr("has 0 inputs"));
  EXPECT_THAT(refusal(stats({"train", "--out", "x"})), HasSubstr("delivers model steps"));
  EXPECT_THAT(refusal(stats({"--out", "x", "--part", "3/2"})), HasSubstr("--part 3/2"));
  EXPECT_THAT(refusal({"validate", "g.yaml", "--set", "vars.data=" + sample_data(), "--set",
                       "scaled.stats=none.json"}),
              HasSubstr("make it with: trib stats GRAPH scaled"));
  ASSERT_EQ(trib(stats({"--out", "s.json"})).exit_code, 0);
  EXPECT_THAT(
      refusal({"run", "g.yaml", "--set", "vars.data=" + sample_data(), "--set",
               "scaled.stats=s.json", "--set", "coarse.degrees=22.5", "--set", "tokens.patch=2"}),
      HasSubstr("s.json: was measured on another grid: found 16 x 32 cells"));
}

TEST_F(StatsTest, ABrokenFileEndsAllRanks) {
  std::filesystem::create_directory(path("d"));
  write("d/bad.nc", "no file");
  write("b.yaml", R"(
nodes:
  fields: {type: read.netcdf, files: d/bad.nc}
  scaled: {type: normalize, from: fields}
  end:    {type: sink, from: scaled}
)");
  const ProgramResult result = mpirun(2, {"stats", "b.yaml", "--out", "x.json"});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_THAT(result.err, HasSubstr("d/bad.nc"));
  EXPECT_FALSE(exists("x.json"));
}

}  // namespace
}  // namespace trib::test
