#include "io/hdf5_lock.h"

#include <chrono>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

TEST(Hdf5Lock, IsOneRecursiveLockForTheWholeProcess) {
  const std::lock_guard outer(hdf5_family_lock());
  const std::lock_guard inner(hdf5_family_lock());
  bool taken_elsewhere = true;
  std::thread([&] { taken_elsewhere = hdf5_family_lock().try_lock(); }).join();
  EXPECT_FALSE(taken_elsewhere);
}

/// Runs a function while it holds a lock.
std::thread hold(Hdf5Lock& lock, std::function<void()> meanwhile) {
  std::promise<void> held;
  std::thread thread([&lock, &held, meanwhile = std::move(meanwhile)] {
    const std::lock_guard guard(lock);
    held.set_value();
    meanwhile();
  });
  held.get_future().wait();
  return thread;
}

TEST(Hdf5Lock, IsNotWaitedForForEverWhenThreadsAreGivenUp) {
  Hdf5Lock lock(0.1);
  std::promise<void> gate;
  std::thread hanging = hold(lock, [&] { gate.get_future().wait(); });
  auto waiting = std::async(std::launch::async, [&] { lock.lock(); });
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);
  lock.count_given_up(1);
  EXPECT_THROW(waiting.get(), DataError);
  EXPECT_THROW(lock.lock(), DataError);
  // It came back.
  gate.set_value();
  hanging.join();
  const std::lock_guard guard(lock);
}

TEST(Hdf5Lock, IsKnownToBeLostByAllThatComeLater) {
  Hdf5Lock lock(0.5);
  std::promise<void> gate;
  std::thread hanging = hold(lock, [&] { gate.get_future().wait(); });
  lock.count_given_up(1);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) EXPECT_THROW(lock.lock(), DataError);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  gate.set_value();
  hanging.join();
}

// What hangs may be elsewhere.
TEST(Hdf5Lock, IsWaitedForAsLongAsItsHolderGoesOn) {
  Hdf5Lock lock(3);
  lock.count_given_up(1);
  std::thread working = hold(lock, [&] {
    for (int i = 0; i < 80; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      const std::lock_guard again(lock);
    }
  });
  EXPECT_NO_THROW(lock.lock());
  lock.unlock();
  working.join();
}

}  // namespace
}  // namespace trib::io
