#include "io/checkpoint/checkpoint_writer.h"

#include <csignal>
#include <cstring>
#include <functional>

#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/pending_file.h"
#include "io/safetensors.h"
#include "ops/base/error.h"
#include "tests/io/checkpoint_fixture.h"

namespace trib::io {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::map<std::string, CheckpointTensor> kSmall = {{"w", {{6, 4}}}, {"b", {{5}}}};

std::string message(const std::function<void()>& act) {
  try {
    act();
  } catch (const RuntimeError& error) {
    return error.what();
  }
  return "";
}

/// What a small checkpoint was written with.
float first_of(const std::string& path) {
  return Checkpoint(path).read_whole("w", kValueState).data<float>()[0];
}

TEST(CheckpointWriter, LeavesOneFileARankAndAnIndex) {
  const std::string folder = make_folder() + "/run/checkpoints";
  const std::string path = write_small(folder, 40);
  EXPECT_EQ(path, folder + "/step-40");
  EXPECT_THAT(names_in(folder), ElementsAre("latest", "step-40"));
  EXPECT_EQ(fs::read_symlink(folder + "/latest"), "step-40");
  EXPECT_THAT(names_in(path),
              ElementsAre("index.json", "rank-00000.safetensors", "rank-00001.safetensors"));
  const SafetensorsFile file(path + "/rank-00001.safetensors");
  EXPECT_EQ(file.metadata().at("format"), "tributary-checkpoint");
  EXPECT_EQ(file.metadata().at("step"), "40");
  EXPECT_EQ(file.entry("value/w").shape, Shape({12}));
  const Tensor b = file.read("value/b");
  EXPECT_EQ(b.shape(), Shape({2}));
  EXPECT_EQ(b.data<float>()[1], 3.0F);
}

TEST(CheckpointWriter, PointsLatestAtTheLastCommit) {
  const std::string folder = make_folder();
  write_small(folder, 9);
  write_small(folder, 10);
  EXPECT_EQ(fs::read_symlink(folder + "/latest"), "step-10");
  write_small(folder, 4);
  EXPECT_EQ(fs::read_symlink(folder + "/latest"), "step-4");
  EXPECT_EQ(load(folder + "/latest/index.json"), load(folder + "/step-4/index.json"));
}

TEST(CheckpointWriter, TakesRanksWithoutPieces) {
  const std::string folder = make_folder();
  const CheckpointWriter writer(folder, 1);
  const std::vector<float> b{1, 2, 3};
  writer.write_rank(0, {});
  writer.write_rank(1, {{"b", kValueState, {}, {0, 3}, b.data()}});
  writer.write_rank(2, {{"b", kValueState, {}, {3, 3}, nullptr}});
  const Checkpoint checkpoint(writer.commit(3, {{"b", {{3}}}}, "{}"));
  EXPECT_EQ(checkpoint.index().pieces.size(), 1U);
  EXPECT_EQ(checkpoint.read_whole("b", kValueState).data<float>()[2], 3.0F);
}

TEST(CheckpointWriter, KeepsAValidCheckpointOfTheSameStep) {
  const std::string folder = make_folder();
  write_small(folder, 5, 1);
  write_small(folder, 6, 2);
  EXPECT_EQ(write_small(folder, 5, 100), folder + "/step-5");
  EXPECT_EQ(first_of(folder + "/step-5"), 1.0F);
  EXPECT_THAT(names_in(folder), ElementsAre("latest", "step-5", "step-6"));
  EXPECT_EQ(fs::read_symlink(folder + "/latest"), "step-5");
}

TEST(CheckpointWriter, SetsADamagedCheckpointOfTheSameStepAside) {
  const std::string folder = make_folder();
  const std::string path = write_small(folder, 5, 1);
  flip_bit(path + "/rank-00000.safetensors", 3);
  EXPECT_EQ(write_small(folder, 5, 100), path);
  EXPECT_EQ(first_of(path), 100.0F);
  EXPECT_THAT(names_in(folder), ElementsAre("latest", "step-5", "step-5.damaged"));
  EXPECT_THAT(Checkpoint(path + ".damaged").verify(), Not(IsEmpty()));

  fs::remove(path + "/index.json");
  write_small(folder, 5, 200);
  fs::remove_all(path);
  store(path, "no folder");
  write_small(folder, 5, 300);
  EXPECT_EQ(first_of(path), 300.0F);
  EXPECT_THAT(names_in(folder), ElementsAre("latest", "step-5", "step-5.damaged",
                                            "step-5.damaged-2", "step-5.damaged-3"));
  EXPECT_EQ(load(path + ".damaged-3"), "no folder");
}

TEST(CheckpointWriter, DropsWhatAKilledRunWithMoreRanksLeft) {
  const std::string folder = make_folder();
  write_small(folder, 5, 1, false);
  const std::string temporary = folder + "/step-5.tmp/";
  fs::copy(temporary + "rank-00001.safetensors", temporary + "rank-00002.safetensors");
  fs::copy(temporary + "rank-00001.json", temporary + "rank-00002.json");
  store(temporary + "rank-00000.safetensors.77.part", "half");
  store(temporary + "index.json", "{");
  const std::string path = write_small(folder, 5, 50);
  EXPECT_THAT(names_in(path),
              ElementsAre("index.json", "rank-00000.safetensors", "rank-00001.safetensors"));
  EXPECT_EQ(first_of(path), 50.0F);
}

TEST(CheckpointWriter, GivesNoNameToWhatIsIncomplete) {
  const std::string folder = make_folder();
  write_small(folder, 5, 1, false);
  const CheckpointWriter writer(folder, 5);
  const auto commit = [&](int ranks, const std::map<std::string, CheckpointTensor>& tensors) {
    return message([&] { writer.commit(ranks, tensors, "{}"); });
  };
  EXPECT_THAT(commit(3, kSmall), HasSubstr("rank-00002.json: cannot be opened"));
  EXPECT_THAT(commit(2, {{"w", {{6, 4}}}}), HasSubstr("tensor 'b' (value) in rank-00000"));
  EXPECT_THAT(list_checkpoints(folder), IsEmpty());
  write_small(folder, 5, 1, false);
  EXPECT_THAT(commit(1, kSmall), HasSubstr("tensor 'b' (value): element 3 of [5] is in no piece"));
  write_small(folder, 5, 1, false);
  edit(folder + "/step-5.tmp/rank-00001.json", "\"step\": 5", "\"step\": 4");
  EXPECT_THAT(commit(2, kSmall), HasSubstr("rank-00001.json: is of step 4, expected 5"));
  write_small(folder, 5, 1, false);
  fs::resize_file(folder + "/step-5.tmp/rank-00001.safetensors", 99);
  EXPECT_THAT(commit(2, kSmall), HasSubstr("rank-00001.safetensors: "));
  write_small(folder, 5, 1, false);
  EXPECT_THAT(message([&] { writer.commit(2, kSmall, "no JSON"); }), HasSubstr("index"));
  EXPECT_THAT(names_in(folder), ElementsAre("step-5.tmp"));
  writer.discard();
  writer.discard();
  EXPECT_THAT(names_in(folder), IsEmpty());
}

TEST(CheckpointWriter, RefusesWhatCannotBeWritten) {
  const std::string folder = make_folder();
  const float b[3] = {1, 2, 3};
  const CheckpointWriter writer(folder, 1);
  EXPECT_THAT(message([&] {
                writer.write_rank(
                    0, {{"b", kValueState, {}, {0, 2}, b}, {"b", kValueState, {}, {2, 3}, b}});
              }),
              HasSubstr("tensor 'b' (value): is to be written twice by one rank"));
  EXPECT_THAT(message([&] {
                writer.write_rank(0, {{"b", kValueState, {}, {0, 2}, nullptr}});
              }),
              HasSubstr("there are no elements to write"));
  store(folder + "/file", "");
  EXPECT_THAT(
      message([&] { CheckpointWriter(folder + "/file", 1).write_rank(0, {}); }),
      AllOf(HasSubstr("/file/step-1.tmp: cannot be created"), HasSubstr("Not a directory")));
}

TEST(CheckpointWriter, PrunesAllButTheNewest) {
  const std::string folder = make_folder();
  for (const int step : {8, 9, 10, 11}) write_small(folder, step);
  write_small(folder, 7);  // `latest` points at it
  write_small(folder, 12, 1, false);
  for (const char* name : {"step-3.damaged", "step-8.removed", "step-2.removed", "mine.removed"}) {
    fs::create_directory(folder + "/" + name);
    store(folder + "/" + name + "/file", "x");
  }
  prune_checkpoints(folder, 2);
  EXPECT_THAT(names_in(folder), ElementsAre("latest", "mine.removed", "step-10", "step-11",
                                            "step-12.tmp", "step-3.damaged", "step-7"));
  prune_checkpoints(folder, 9);
  EXPECT_EQ(list_checkpoints(folder).size(), 3U);
  prune_checkpoints(folder + "/nowhere", 1);
}

TEST(CheckpointWriter, SetsNewerOnesAside) {
  const std::string folder = make_folder();
  for (const int step : {8, 9, 10, 11}) write_small(folder, step);
  write_small(folder, 12, 1, false);
  fs::create_directory(folder + "/step-10.damaged");
  set_newer_aside(folder + "/step-9");
  const auto expected = ElementsAre("latest", "step-10.damaged", "step-10.damaged-2",
                                    "step-11.damaged", "step-12.tmp", "step-8", "step-9");
  EXPECT_THAT(names_in(folder), expected);
  EXPECT_EQ(fs::read_symlink(folder + "/latest"), "step-9");
  set_newer_aside(folder + "/step-9");
  EXPECT_THAT(names_in(folder), expected);
}

TEST(CheckpointWriter, NeedsNoLatest) {
  const std::string folder = make_folder();
  fs::create_directory(folder + "/latest");
  store(folder + "/latest/notes.txt", "in the way");
  EXPECT_EQ(write_small(folder, 5), folder + "/step-5");
  EXPECT_EQ(write_small(folder, 5), folder + "/step-5") << "is there already";
  EXPECT_EQ(first_of(folder + "/step-5"), 1.0F);
  EXPECT_THAT(list_checkpoints(folder), ElementsAre(folder + "/step-5"));
}

TEST(CheckpointWriter, CleansUpWhatKilledRunsLeft) {
  const std::string folder = make_folder();
  write_small(folder, 1);
  write_small(folder, 2, 1, false);
  fs::create_symlink("step-1", folder + "/latest.tmp");
  for (const char* name : {"step-3.damaged", "step-4.removed", "step-x.tmp", "mine.tmp"}) {
    fs::create_directory(folder + "/" + name);
  }
  clean_checkpoints(folder);
  EXPECT_THAT(names_in(folder),
              ElementsAre("latest", "mine.tmp", "step-1", "step-3.damaged", "step-x.tmp"));
  EXPECT_EQ(first_of(folder + "/latest"), 1.0F);
  clean_checkpoints(folder + "/nowhere");
}

/// Kill a process that writes and prunes checkpoints, at any instant: what is listed is whole, and
/// nothing that was listed before is lost.
TEST(CheckpointWriter, SurvivesKills) {
  const std::string folder = make_folder();
  Random random(3);
  std::int64_t newest = 0;
  int committed = 0, in_vain = 0;
  for (int kill_number = 0; kill_number < 60 || committed == 0; ++kill_number) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        clean_checkpoints(folder);
        for (std::int64_t step = newest + 1;; ++step) {
          write_small(folder, step, static_cast<float>(step));
          prune_checkpoints(folder, 2);
        }
      } catch (...) {
        ::_exit(1);
      }
    }
    // A slow disk gets more time.
    ::usleep(static_cast<useconds_t>(random.number(0, 60'000 * (1 + in_vain / 8))));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer has failed";

    const std::vector<std::string> checkpoints = list_checkpoints(folder);
    for (const std::string& path : checkpoints) {
      const Checkpoint checkpoint(path);
      EXPECT_THAT(checkpoint.verify(), IsEmpty());
      EXPECT_EQ(checkpoint.index().step, static_cast<std::int64_t>(first_of(path)));
    }
    const std::int64_t now = checkpoints.empty() ? 0 : Checkpoint(checkpoints[0]).index().step;
    EXPECT_GE(now, newest);
    if (fs::is_symlink(folder + "/latest")) {  // it may lag by as many kills as came before it
      EXPECT_THAT(checkpoints,
                  Contains(folder + "/" + fs::read_symlink(folder + "/latest").string()));
    }
    in_vain = now > newest ? 0 : in_vain + 1;
    committed += now > newest ? 1 : 0;
    newest = now;
  }
}

/// Write more than there is room for after a small checkpoint.
std::string message_without_room(const std::string& folder) {
  const std::vector<float> large(100'000, 1.0F);
  return message([&] {
    CheckpointWriter(folder, 2).write_rank(
        0, {{"w", kValueState, {}, {0, std::ssize(large)}, large.data()}});
  });
}

void expect_only_small(const std::string& folder) {
  CheckpointWriter(folder, 2).discard();
  EXPECT_THAT(names_in(folder), ElementsAre("latest", "step-1"));
  EXPECT_EQ(first_of(folder + "/step-1"), 1.0F);
}

TEST(CheckpointWriter, SaysThatTheDiskIsFull) {
  const std::string folder = make_folder();
  if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=128k") != 0) {
    GTEST_SKIP() << "no file system of 128 KB can be mounted here: " << std::strerror(errno);
  }
  try {
    write_small(folder, 1);
    EXPECT_THAT(message_without_room(folder),
                AllOf(HasSubstr(folder + "/step-2.tmp/rank-00000.safetensors: cannot be written"),
                      HasSubstr("No space left on device")));
    EXPECT_THAT(list_checkpoints(folder), ElementsAre(folder + "/step-1"));
    expect_only_small(folder);
  } catch (const std::exception& error) {
    ADD_FAILURE() << error.what();
  }
  EXPECT_EQ(::umount(folder.c_str()), 0);
}

TEST(CheckpointWriter, ReservesItsRoomFirst) {
  const std::string folder = make_folder();
  if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=128k") != 0) {
    GTEST_SKIP() << "no file system of 128 KB can be mounted here: " << std::strerror(errno);
  }
  const auto available = [&] { return fs::space(folder).available; };
  const auto before = available();
  {
    PendingFile fits(folder + "/fits");
    fits.reserve(65536);
    EXPECT_EQ(available(), before - 65536) << "before anything is written";
    PendingFile large(folder + "/large");
    EXPECT_THAT(message([&] { large.reserve(131072); }),
                AllOf(HasSubstr("/large: cannot be written"), HasSubstr("No space left")));
    EXPECT_EQ(available(), before - 65536) << "others may still write";
    fits.write("text", 4);
    fits.commit();
  }
  EXPECT_EQ(load(folder + "/fits"), "text") << "no longer than what was written";
  EXPECT_THAT(names_in(folder), ElementsAre("fits"));
  EXPECT_THAT(message_without_room(folder), HasSubstr("No space left"));
  EXPECT_THAT(names_in(folder + "/step-2.tmp"), IsEmpty()) << "not even for discard() to remove";
  EXPECT_EQ(::umount(folder.c_str()), 0);
}

TEST(CheckpointWriter, SaysThatAFileMayNotBeSoLarge) {
  const std::string folder = make_folder();
  write_small(folder, 1);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const rlimit limit{65536, 65536};
    ::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &limit);
    store(folder + "/message", message_without_room(folder));
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_THAT(load(folder + "/message"),
              AllOf(HasSubstr("step-2.tmp/rank-00000.safetensors: cannot be written"),
                    HasSubstr("File too large")));
  fs::remove(folder + "/message");
  expect_only_small(folder);
}

}  // namespace
}  // namespace trib::io
