// Damaged files of every kind: reading them gives values or says what is wrong, and never crashes,
// hangs or asks for all memory. Seeds are fixed; TRIB_FUZZ=10 runs ten times as many cases.
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "tests/fuzz/damage.h"
#include "tests/fuzz/isolated_cases.h"
#include "tests/fuzz/small_files.h"
#include "tests/support/temp_dir.h"

#if defined(__SANITIZE_ADDRESS__)
// Allocations beyond this fail as if memory were short; what dies of a signal must say so.
extern "C" const char* __asan_default_options() {
  return "allocator_may_return_null=1:max_allocation_size_mb=2048:detect_leaks=0";
}
#endif

namespace trib::test {
namespace {

constexpr std::uint64_t kCases = 150;

std::uint64_t num_cases() {
  const char* times = std::getenv("TRIB_FUZZ");
  return kCases * (times == nullptr ? 1 : std::strtoull(times, nullptr, 10));
}

std::string contents_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool is_same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

// The files of one kind, and what they hold; made in the child that first needs it.
class Subject {
 public:
  Subject(const SmallFile& file, const std::string& folder, std::string name)
      : file_(file), folder_(folder), name_(std::move(name)), good_(contents_of(path(folder))) {}

  const std::string& contents() const { return good_; }

  Outcome try_case(std::uint64_t number, std::string& note) {
    if (!has_values_) values_ = file_.read(path(folder_));
    has_values_ = true;
    // A name of its own each: libraries may know a file again that they failed to open.
    const std::string folder = fmt::format("{}/case{}", folder_, number);
    std::filesystem::create_directory(folder);
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      if (entry.is_regular_file()) std::filesystem::copy(entry.path(), folder);
    }
    std::ofstream(path(folder), std::ios::binary | std::ios::trunc) << damaged(good_, number);
    const Outcome outcome = read(path(folder), note);
    std::filesystem::remove_all(folder);
    return outcome;
  }

 private:
  std::string path(const std::string& folder) const { return folder + "/" + name_; }

  Outcome read(const std::string& path, std::string& note) const {
    try {
      const std::vector<float> values = file_.read(path);
      if (is_same(values, values_)) return Outcome::same;
      note = difference(values);
      return Outcome::changed;
    } catch (const Error& error) {
      if (error.exit_code() == ExitCode::data || error.exit_code() == ExitCode::config) {
        return Outcome::refused;
      }
      note = fmt::format("exit code {}: {}", static_cast<int>(error.exit_code()), error.what());
    } catch (const std::exception& error) {
      note = fmt::format("{}: {}", typeid(error).name(), error.what());
    }
    return Outcome::wrong;
  }

  std::string difference(const std::vector<float>& values) const {
    if (values.size() != values_.size()) {
      return fmt::format("{} values in place of {}", values.size(), values_.size());
    }
    std::size_t count = 0, first = 0;
    for (std::size_t i = values.size(); i-- > 0;) {
      if (std::memcmp(&values[i], &values_[i], sizeof(float)) == 0) continue;
      ++count;
      first = i;
    }
    return fmt::format("{} of {} values; the first is {} in place of {}", count, values.size(),
                       values[first], values_[first]);
  }

  const SmallFile& file_;
  std::string folder_, name_, good_;
  std::vector<float> values_;
  bool has_values_ = false;
};

// libhdf5 1.10 reads beyond its buffers where tables of attributes are damaged. Nobody outside of
// it can tell before, and only the sanitizer tells at all.
bool is_overread_in_hdf5(const CaseResult& result) {
#ifdef __SANITIZE_ADDRESS__
  return result.crashed && result.note.find("in H5A__compact_build_table") != std::string::npos;
#else
  static_cast<void>(result);
  return false;
#endif
}

class ReaderFuzz : public ::testing::TestWithParam<SmallFile> {};

TEST_P(ReaderFuzz, DamageIsRefusedOrHarmless) {
  const SmallFile& file = GetParam();
  const TempDir folder;
  // Libraries that start threads must not run in this process before the next fork.
  std::string name;
  run_isolated(1, [&](std::uint64_t, std::string&) {
    std::ofstream(folder.file(".name")) << file.write(folder.path());
    return Outcome::same;
  });
  std::getline(std::ifstream(folder.file(".name")) >> std::ws, name);
  std::filesystem::remove(folder.file(".name"));
  if (name.empty()) GTEST_SKIP() << file.kind << " cannot be had here";
  Subject subject(file, folder.path(), name);
  const std::vector<CaseResult> results = run_isolated(
      num_cases(), [&](std::uint64_t i, std::string& note) { return subject.try_case(i, note); });
  std::map<Outcome, int> count;
  int stopped = 0, cut = 0;
  for (std::uint64_t i = 0; i < results.size(); ++i) {
    const CaseResult& result = results[i];
    ++count[result.outcome];
    stopped += result.crashed || result.hung ? 1 : 0;
    const std::string how = fmt::format("case {} ({})", i, describe_damage(subject.contents(), i));
    EXPECT_FALSE(result.crashed && !is_overread_in_hdf5(result))
        << how << " crashed: " << result.note;
    EXPECT_FALSE(result.hung) << how << " hung: " << result.note;
    EXPECT_NE(result.outcome, Outcome::wrong) << how << ": " << result.note;
    if (std::getenv("TRIB_FUZZ") != nullptr && result.outcome == Outcome::changed) {
      std::cout << fmt::format("{}: {}: {}\n", file.kind, how, result.note);
    }
    // What is cut off must be missed, whatever the format.
    const bool is_cut = how.find("cut off") != std::string::npos;
    cut += is_cut ? 1 : 0;
    if (file.is_checksummed || (is_cut && file.has_end)) {
      EXPECT_NE(result.outcome, Outcome::changed) << how;
    }
  }
  std::cout << fmt::format(
      "{:<20} {:>6} bytes: {} cases, {} of them cut off; {} refused, {} without effect, {} changed "
      "unseen, {} wrong, {} stopped\n",
      file.kind, subject.contents().size(), results.size(), cut, count[Outcome::refused],
      count[Outcome::same], count[Outcome::changed], count[Outcome::wrong], stopped);
  EXPECT_GT(count[Outcome::refused], 0);
}

INSTANTIATE_TEST_SUITE_P(Files, ReaderFuzz, ::testing::ValuesIn(small_files()),
                         [](const auto& file) { return file.param.kind; });

}  // namespace
}  // namespace trib::test
