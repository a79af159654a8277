#include "io/hdf5_lock.h"

#include <thread>

#include <gtest/gtest.h>

namespace trib::io {
namespace {

TEST(Hdf5Lock, IsOneRecursiveLockForTheWholeProcess) {
  const std::lock_guard outer(hdf5_family_lock());
  const std::lock_guard inner(hdf5_family_lock());
  bool taken_elsewhere = true;
  std::thread([&] { taken_elsewhere = hdf5_family_lock().try_lock(); }).join();
  EXPECT_FALSE(taken_elsewhere);
}

}  // namespace
}  // namespace trib::io
