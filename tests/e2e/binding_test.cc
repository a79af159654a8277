// `trib run --bind`: where the threads of ranks are, as the system tells it.

#include <map>
#include <set>

#include <sched.h>

#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

namespace fs = std::filesystem;

class Bind : public TribTest {
 protected:
  void SetUp() override {
    write("g.yaml", kMaeGraph);
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    cores_ = CPU_COUNT(&allowed);
  }

  using Lists = std::map<std::string, std::set<std::string>>;

  // Cores the threads of each process of the program in this folder may use.
  Lists lists_now() const {
    Lists found;
    std::error_code gone;  // processes come and go
    for (const auto& process : fs::directory_iterator("/proc", gone)) {
      if (fs::read_symlink(process.path() / "cwd", gone) != fs::canonical(path("."), gone))
        continue;
      if (fs::read_symlink(process.path() / "exe", gone) != fs::canonical(TRIB_PROGRAM)) continue;
      for (const auto& thread : fs::directory_iterator(process.path() / "task", gone)) {
        std::ifstream status(thread.path() / "status");
        constexpr std::string_view kKey = "Cpus_allowed_list:\t";
        for (std::string line; std::getline(status, line);) {
          if (!line.starts_with(kKey)) continue;
          found[process.path().filename()].insert(line.substr(kKey.size()));
        }
      }
    }
    return found;
  }

  // Of a run in its sixth step, which is then ended.
  Lists lists_of_run(const Arguments& more, int ranks) const {
    Lists found;
    ProgramOptions options;
    options.timeout = 30;
    options.signal = SIGUSR1;
    options.signal_when = [&] {
      if (lines("r/metrics.jsonl").size() <= 5) return false;
      found = lists_now();
      return true;
    };
    const Arguments arguments = Arguments{"run",       "g.yaml",
                                          "--run-dir", "r",
                                          "--set",     "train.steps=5000",
                                          "--set",     "images.delay=2ms",
                                          "--set",     "mesh.data=" + std::to_string(ranks)} +
                                more;
    const ProgramResult result =
        ranks == 1 ? trib(arguments, options) : mpirun(ranks, arguments, options);
    EXPECT_EQ(result.exit_code, 128 + SIGUSR1) << result.err;
    return found;
  }

  int cores_ = 0;
};

TEST_F(Bind, RanksHaveCoresOfTheirOwn) {
  if (cores_ != 2) GTEST_SKIP() << "for machines with two cores";
  const Lists lists = lists_of_run({"--bind", "core"}, 2);
  ASSERT_EQ(lists.size(), 2U);
  std::set<std::string> of_ranks;
  for (const auto& [process, of_threads] : lists) {
    ASSERT_EQ(of_threads.size(), 1U) << testing::PrintToString(of_threads);
    of_ranks.insert(*of_threads.begin());
  }
  EXPECT_EQ(of_ranks, (std::set<std::string>{"0", "1"}));
  const nlohmann::json environment = json("r/environment.json");
  EXPECT_EQ(environment["bind"], "core");
  EXPECT_EQ(environment["cores_of_ranks"], (nlohmann::json{"0", "1"}));
  EXPECT_EQ(environment["compute_threads"], 1);
}

TEST_F(Bind, IoThreadsMayUseAllCoresOfTheRank) {
  if (cores_ != 2) GTEST_SKIP() << "for machines with two cores";
  const Lists lists = lists_of_run({"--bind", "core"}, 1);
  ASSERT_EQ(lists.size(), 1U);
  EXPECT_TRUE(lists.begin()->second.contains("0-1"))
      << testing::PrintToString(lists.begin()->second);
}

TEST_F(Bind, NobodyIsBoundUnasked) {
  const Lists lists = lists_of_run({}, 1);
  ASSERT_EQ(lists.size(), 1U);
  EXPECT_EQ(lists.begin()->second.size(), 1U);
  EXPECT_EQ(json("r/environment.json")["bind"], "none");
}

// What validate foresees for the run that it is asked about.
TEST_F(Bind, ValidateCountsThreadsAsTheRunDoes) {
  if (cores_ < 2) GTEST_SKIP() << "for machines with two cores";
  for (const int ranks : {1, 2}) {
    for (const char* bind : {"none", "core", "numa"}) {
      const Arguments options{
          "--bind", bind, "--set", "mesh.data=" + std::to_string(ranks), "--set", "train.steps=1"};
      const ProgramResult foreseen = trib(Arguments{"validate", "g.yaml", "--json"} + options);
      ASSERT_EQ(foreseen.exit_code, 0) << foreseen.err;
      const auto plan = nlohmann::json::parse(foreseen.out);
      const std::string folder = std::string(bind) + std::to_string(ranks);
      run("g.yaml", folder, options, ranks);
      EXPECT_EQ(plan["compute_threads"], json(folder + "/environment.json")["compute_threads"]);
      const auto ranks_detail = json(folder + "/summary.json")["ranks_detail"];
      const auto memory = ranks_detail[static_cast<std::size_t>(ranks) - 1]["memory"];
      for (const auto& [kind, bytes] : plan["memory_bytes_per_rank"].items()) {
        EXPECT_EQ(bytes, memory[kind]["predicted_bytes"]) << folder << " " << kind;
      }
    }
  }
}

TEST_F(Bind, MoreRanksThanCoresAreRefused) {
  if (cores_ > 3) GTEST_SKIP() << "for machines with few cores";
  const ProgramResult result =
      mpirun(4, {"run", "g.yaml", "--bind", "core", "--set", "mesh.data=4"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("--bind core: 4 ranks cannot have cores of their own of"));
}

TEST_F(Bind, RanksThatTakeTurnsAreToldSo) {
  if (cores_ > 3) GTEST_SKIP() << "for machines with few cores";
  const ProgramResult result = mpirun(4, {"run", "g.yaml", "--set", "mesh.data=4", "--set",
                                          "train.steps=2", "--set", "train.evaluate_every=0"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("warning: 4 ranks share"));
}

}  // namespace
}  // namespace trib::test
