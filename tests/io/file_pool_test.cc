#include "io/file_pool.h"

#include <csignal>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/temp_dir.h"

namespace trib::io {
namespace {

using Pool = FilePool<std::string>;

Pool::Open open_counted(int& count) {
  return [&count](const std::string& path) {
    ++count;
    return std::make_unique<std::string>(path);
  };
}

TEST(FilePool, KeepsTheFilesUsedLast) {
  int opened = 0;
  Pool pool(2, open_counted(opened));
  const auto use = [&](const std::string& path) {
    return pool.with(path, [](const std::string& file) { return file; });
  };
  for (const char* path : {"a", "b", "a"}) EXPECT_EQ(use(path), path);
  EXPECT_EQ(opened, 2);
  EXPECT_EQ(use("c"), "c");  // closes b
  EXPECT_EQ(use("a"), "a");
  EXPECT_EQ(opened, 3);
  EXPECT_EQ(use("b"), "b");
  EXPECT_EQ(opened, 4);
}

// A lease makes whoever opens the file wait, as a lost server does.
TEST(FilePool, HangsOutsideOfTheLock) {
  const test::TempDir folder;
  const std::string path = folder.file("lost.h5");
  std::ofstream(path) << "bytes";
  const int lease = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(lease, 0);
  ::signal(SIGIO, SIG_IGN);  // comes when somebody wants the file
  if (::fcntl(lease, F_SETLEASE, F_WRLCK) != 0) {
    ::close(lease);
    GTEST_SKIP() << "no leases on files here";
  }
  int opened = 0;
  Pool pool(2, open_counted(opened));
  std::jthread reader([&] { pool.with(path, [](const std::string& /*file*/) {}); });
  while (slow_openings(0.1).empty()) std::this_thread::yield();
  const bool is_free = hdf5_family_lock().try_lock();
  EXPECT_TRUE(is_free);
  if (is_free) hdf5_family_lock().unlock();
  EXPECT_EQ(opened, 0);
  ::fcntl(lease, F_SETLEASE, F_UNLCK);
  ::close(lease);
  reader.join();
  EXPECT_EQ(opened, 1);
  ::signal(SIGIO, SIG_DFL);
}

}  // namespace
}  // namespace trib::io
